/**
 * Jinja templates that cannot run forever: the interpreter of @huggingface/jinja with a budget.
 *
 * Chat templates come with models, so they are untrusted. Counting evaluated nodes ends an endless loop
 * at the same point on every machine; a single call of a built-in function is limited by the process's
 * deadline and memory limit.
 */
import { Environment, Interpreter, parse, tokenize } from "@huggingface/jinja";

/** Most nodes that a template may evaluate: a chat of a thousand turns takes some fifty thousand. */
const MAX_STEPS = 200_000;

/** Longest text that a template may build, in UTF-16 units. */
const MAX_TEXT = 1 << 26;

/** Longest list that `range` may make. */
const MAX_RANGE = 1 << 16;

type Statement = Parameters<Interpreter["evaluate"]>[0];
type Value = ReturnType<Interpreter["evaluate"]>;

class BoundedInterpreter extends Interpreter {
  #steps = 0;

  override evaluate(statement: Statement, environment: Environment): Value {
    if (++this.#steps > MAX_STEPS) {
      throw new RangeError(`it does not end within ${MAX_STEPS} steps`);
    }
    const value = super.evaluate(statement, environment);
    if (typeof value.value === "string" && value.value.length > MAX_TEXT) {
      throw new RangeError(`its text is longer than ${MAX_TEXT} characters`);
    }
    return value;
  }
}

/** A parsed template. */
export class BoundedTemplate {
  readonly #program: ReturnType<typeof parse>;

  /** @throws {Error} for text that is not a template */
  constructor(text: string) {
    // The options that transformers sets for chat templates.
    this.#program = parse(tokenize(text, { lstrip_blocks: true, trim_blocks: true }));
  }

  /**
   * Renders with these variables; `undefined` ones are not defined.
   *
   * @throws {Error} if the template raises an exception, is wrong, or exceeds its budget
   */
  render(variables: Readonly<Record<string, unknown>>): string {
    const environment = new Environment();
    for (const [name, value] of Object.entries({ ...GLOBALS, ...variables })) {
      if (value !== undefined) environment.set(name, value);
    }
    return String(new BoundedInterpreter(environment).run(this.#program).value);
  }
}

/** Jinja's and transformers' global names. */
const GLOBALS: Readonly<Record<string, unknown>> = {
  true: true,
  True: true,
  false: false,
  False: false,
  none: null,
  None: null,
  raise_exception: (message: unknown) => {
    throw new Error(String(message));
  },
  range,
  strftime_now: (format: string) => strftime(format, new Date()),
};

function range(...args: readonly unknown[]): number[] {
  const [first, second, third] = args.map((value) => typeof value === "number" ? value : undefined);
  if (first === undefined) throw new TypeError("range needs a number");
  const [start, stop, step] = second === undefined ? [0, first, 1] : [first, second, third ?? 1];
  const count = step === 0 ? Infinity : Math.max(0, Math.ceil((stop - start) / step));
  if (!(count <= MAX_RANGE)) throw new RangeError(`range has more than ${MAX_RANGE} members`);
  return Array.from({ length: count }, (_, i) => start + i * step);
}

/** The parts of C's strftime that chat templates use, in English and local time. */
function strftime(format: string, now: Date): string {
  const two = (value: number) => String(value).padStart(2, "0");
  const named = (options: Intl.DateTimeFormatOptions) => now.toLocaleDateString("en-US", options);
  return format.replaceAll(/%(.)/g, (whole, code) => {
    switch (code) {
      case "Y":
        return String(now.getFullYear());
      case "y":
        return two(now.getFullYear() % 100);
      case "m":
        return two(now.getMonth() + 1);
      case "d":
        return two(now.getDate());
      case "H":
        return two(now.getHours());
      case "M":
        return two(now.getMinutes());
      case "S":
        return two(now.getSeconds());
      case "B":
        return named({ month: "long" });
      case "b":
        return named({ month: "short" });
      case "A":
        return named({ weekday: "long" });
      case "a":
        return named({ weekday: "short" });
      case "%":
        return "%";
      default:
        return whole;
    }
  });
}
