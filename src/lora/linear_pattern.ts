/**
 * Regular expressions from files and command lines, matched in time proportional to text times
 * expression, without backtracking.
 *
 * JavaScript's own matcher backtracks: `.*.*.*!` on 600 characters takes 20 seconds. Here the text is
 * scanned once, with the set of all steps of the expression that can match (K. Thompson, "Regular
 * expression search algorithm", 1968), from its end, so that the results of lookaheads are known where
 * they are needed.
 */
import { BadInputError } from "../errors.ts";
import { type Edge, parsePattern, type PatternNode } from "./pattern_syntax.ts";

/** Most steps of an expression, with its counted repetitions expanded. */
const MAX_STEPS = 4096;

/** Longest expression. */
const MAX_SOURCE = 4096;

/** Longest text to match. */
const MAX_TEXT = 1 << 14;

/** A step; without an explicit successor the next one follows. */
type Step =
  | { readonly kind: "character"; readonly test: (code: number) => boolean }
  | { readonly kind: "edge"; readonly edge: Edge }
  | { readonly kind: "look"; readonly program: Program; readonly negative: boolean }
  | { readonly kind: "fork"; readonly ways: number[] };

/** Steps, and which of them lead to the end from the current position, and from the next one. */
interface Program {
  readonly steps: Step[];
  here: Uint8Array;
  after: Uint8Array;
}

/** A pattern of whole texts. */
export class LinearPattern {
  /** Lookaheads come before the programs that use them; the last one is the whole expression. */
  readonly #programs: Program[] = [];
  #size = 0;

  /** Number of steps: matching takes that many times the text's characters. */
  get size(): number {
    return this.#size;
  }

  /**
   * @param source of an expression without flags
   * @throws {SyntaxError} for one that JavaScript does not accept, that has back references or
   *   lookbehind, or is too long
   */
  constructor(source: string) {
    if (source.length > MAX_SOURCE) {
      throw new SyntaxError(`it has more than ${MAX_SOURCE} characters`);
    }
    new RegExp(source);
    this.#compile(parsePattern(source));
  }

  /**
   * Whether it matches all of a text.
   *
   * @throws {BadInputError} for a text of more than 16,384 characters
   */
  test(text: string): boolean {
    if (text.length > MAX_TEXT) {
      throw new BadInputError(
        `Patterns are matched with names of at most ${MAX_TEXT} characters: ` +
          `"${text.slice(0, 60)}…" has ${text.length}`,
      );
    }
    const whole = this.#programs.at(-1)!;
    for (let at = text.length; at >= 0; at--) {
      for (const program of this.#programs) {
        const { here, after, steps } = program;
        program.after = here;
        program.here = after.fill(0);
        // After the last step is the end: at any position for a lookahead, only at the end of the text
        // for the whole.
        program.here[steps.length] = Number(program !== whole || at === text.length);
        // A repetition whose part can be empty leads back to steps that were processed before.
        while (walk(program, text, at));
      }
    }
    return whole.here[0] === 1;
  }

  #compile(tree: PatternNode): Program {
    const steps: Step[] = [];
    this.#add(tree, steps);
    const flags = () => new Uint8Array(steps.length + 1);
    const program = { steps, here: flags(), after: flags() };
    this.#programs.push(program);
    return program;
  }

  #add(node: PatternNode, steps: Step[]): void {
    switch (node.kind) {
      case "character":
        return this.#push({ kind: "character", test: characterTest(node.source) }, steps);
      case "edge":
        return this.#push(node, steps);
      case "look": {
        const program = this.#compile(node.item);
        return this.#push({ kind: "look", program, negative: node.negative }, steps);
      }
      case "sequence":
        return node.items.forEach((item) => this.#add(item, steps));
      case "choice":
        return this.#addChoice(node.options, steps);
      case "repeat":
        return this.#addRepeat(node, steps);
    }
  }

  #addChoice(options: readonly PatternNode[], steps: Step[]): void {
    const fork = this.#fork(steps);
    const ends = options.map((option) => {
      fork.push(steps.length);
      this.#add(option, steps);
      return this.#fork(steps);
    });
    for (const end of ends) end.push(steps.length);
  }

  #addRepeat(
    { item, least, most }: Extract<PatternNode, { kind: "repeat" }>,
    steps: Step[],
  ): void {
    for (let i = 0; i < least; i++) this.#add(item, steps);
    if (most === Infinity) {
      const loop = steps.length;
      const fork = this.#fork(steps);
      fork.push(steps.length);
      this.#add(item, steps);
      const again = this.#fork(steps);
      // Also directly to the following step, so that one pass from the end is enough.
      again.push(loop, steps.length);
      fork.push(steps.length);
      return;
    }
    const forks: number[][] = [];
    for (let i = least; i < most; i++) {
      const fork = this.#fork(steps);
      forks.push(fork);
      fork.push(steps.length);
      this.#add(item, steps);
    }
    for (const fork of forks) fork.push(steps.length);
  }

  #fork(steps: Step[]): number[] {
    const ways: number[] = [];
    this.#push({ kind: "fork", ways }, steps);
    return ways;
  }

  #push(step: Step, steps: Step[]): void {
    if (++this.#size > MAX_STEPS) {
      throw new SyntaxError(`it has more than ${MAX_STEPS} steps`);
    }
    steps.push(step);
  }
}

/** Finds more steps that lead to the end from a position of the text; returns whether there were any. */
function walk(program: Program, text: string, at: number): boolean {
  const { steps, here } = program;
  let found = false;
  for (let i = steps.length - 1; i >= 0; i--) {
    if (here[i] === 1 || !leads(program, i, text, at)) continue;
    here[i] = 1;
    found = true;
  }
  return found;
}

function leads({ steps, here, after }: Program, i: number, text: string, at: number): boolean {
  const step = steps[i];
  switch (step.kind) {
    case "character":
      return at < text.length && after[i + 1] === 1 && step.test(text.charCodeAt(at));
    case "edge":
      return here[i + 1] === 1 && isEdge(step.edge, text, at);
    case "look":
      return here[i + 1] === 1 && (step.program.here[0] === 1) !== step.negative;
    case "fork":
      return step.ways.some((way) => here[way] === 1);
  }
}

function isEdge(edge: Edge, text: string, at: number): boolean {
  if (edge === "^") return at === 0;
  if (edge === "$") return at === text.length;
  const isWord = (i: number) => /^\w/.test(text.slice(i, i + 1));
  const boundary = (at > 0 && isWord(at - 1)) !== isWord(at);
  return boundary === (edge === "\\b");
}

const ASCII = 128;

/** A test for single characters by JavaScript's own matcher. */
function characterTest(source: string): (code: number) => boolean {
  const expression = new RegExp(`^${source}$`);
  const test = (code: number) => expression.test(String.fromCharCode(code));
  const ascii = Uint8Array.from({ length: ASCII }, (_, code) => Number(test(code)));
  return (code) => code < ASCII ? ascii[code] === 1 : test(code);
}
