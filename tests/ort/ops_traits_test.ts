/** What operators' rules say of rows and elements is true of what ONNX Runtime computes. */
import { assert, assertEquals } from "@std/assert";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { isFloating } from "../../src/graph/dtype.ts";
import { elementCount, type Tensor, toNumbers } from "../../src/graph/tensor.ts";
import type { Node } from "../../src/graph/types.ts";
import { CONTRIB_RULES } from "../../src/ops/contrib.ts";
import { broadcastStrides, fromNumbers, sourceIndices } from "../../src/ops/fold.ts";
import { INTERNAL_RULES } from "../../src/ops/internal.ts";
import { inferTraining, ruleOf, TRAINING_OPSETS, traitsOf } from "../../src/ops/registry.ts";
import { STANDARD_RULES } from "../../src/ops/standard.ts";
import { type OpRule, TRAINING_OPSET } from "../../src/ops/types.ts";
import { callOf } from "../../src/plan/call.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import type { Executable, Runner } from "../../src/runtime/runner.ts";
import type { CaseInput, OpCase } from "../helpers/gradcheck.ts";
import { assertNear, numbersFor, runHost } from "../helpers/numbers.ts";
import { FURTHER_CASES } from "../helpers/op_cases/further.ts";
import { STANDARD_CASES } from "../helpers/op_cases/mod.ts";

const CASES = [...STANDARD_CASES, ...FURTHER_CASES].filter(({ inputs }) =>
  inputs.every((input) => input === undefined || elementCount(input.dims) > 0)
);
const RULES = [...STANDARD_RULES, ...CONTRIB_RULES, ...INTERNAL_RULES];

const isLowered = ({ traits }: OpRule) => !("again" in traits);

/** Those of the operator set of training graphs; what has none in them is lowered whatever its set. */
const casesOf = (rule: OpRule) =>
  CASES.filter(({ opType, domain = "", opset = TRAINING_OPSET }) =>
    opType === rule.opType && domain === rule.domain &&
    (opset === TRAINING_OPSET || isLowered(rule))
  );

/** Numbers of a case's input, the same for the same title. */
function numbersOf(test: OpCase, i: number): readonly number[] {
  const { dims, values } = test.inputs[i]!;
  return values ?? numbersFor(`${test.opType} ${test.title} ${i}`, elementCount(dims));
}

/** A case's operator as a step's calls compute it. */
class Computed implements Disposable {
  readonly node: Node;
  readonly dims: readonly (readonly number[])[];
  readonly #runner: Runner;
  readonly #executable: Executable;
  readonly #feeds: ReadonlyMap<string, string>;
  readonly #fetches: ReadonlyMap<string, string>;
  readonly #test: OpCase;

  private constructor(
    runner: Runner,
    test: OpCase,
    b: GraphBuilder,
    node: Node,
    outputs: readonly string[],
    call: { feeds: ReadonlyMap<string, string>; fetches: ReadonlyMap<string, string> },
    executable: Executable,
  ) {
    this.#runner = runner;
    this.#test = test;
    this.node = node;
    this.dims = outputs.map((name) => b.dims(name));
    this.#executable = executable;
    this.#feeds = call.feeds;
    this.#fetches = new Map(
      [...call.fetches].map(([canonical, name]) => [canonical, `${outputs.indexOf(name)}`]),
    );
  }

  static async of(runner: Runner, test: OpCase): Promise<Computed> {
    const b = new GraphBuilder(inferTraining);
    const inputs = test.inputs.map((input, i) => {
      if (input === undefined) return "";
      const { dtype = "float32", dims, constant } = input;
      if (constant) return b.initializer(`in${i}`, fromNumbers(dtype, dims, numbersOf(test, i)));
      return b.input(`in${i}`, dtype, dims);
    });
    const { opType, domain = "", attributes = {}, outputs: count = 1 } = test;
    const made = Array.from({ length: count }, (_, i) => `out${i}`);
    const node = { name: "tested", opType, domain, inputs, outputs: made, attributes };
    const rule = ruleOf(node);
    const opset = domain === "" ? test.opset ?? TRAINING_OPSET : 1;
    const context = { opset, needed: made.map(() => true) };
    const lowered = isLowered(rule) ? rule.lower?.(b, node, context) : undefined;
    if (lowered === undefined) b.add(node);
    const outputs = lowered ?? made;
    const call = callOf(b, "test", new Map(outputs.map((name) => [name, name])));
    const executable = await runner.compile({
      ...{ irVersion: 10, opsets: TRAINING_OPSETS, metadata: {}, graph: call.graph },
    });
    return new Computed(runner, test, b, node, outputs, call, executable);
  }

  /** Numbers of each output, where some inputs have others than the case's. */
  async run(changed: ReadonlyMap<number, readonly number[]> = new Map()): Promise<number[][]> {
    const feeds = Object.fromEntries(
      [...this.#feeds].map(([canonical, name]): [string, Tensor] => {
        const i = Number(name.slice(2));
        const { dtype = "float32", dims } = this.#test.inputs[i]!;
        return [
          canonical,
          fromNumbers(dtype, dims, changed.get(i) ?? numbersOf(this.#test, i)),
        ];
      }),
    );
    const results = await runHost(this.#runner, this.#executable, feeds);
    const found = new Map(
      [...this.#fetches].map(([canonical, place]) => [
        Number(place),
        Array.from(toNumbers(results[canonical]), Number),
      ]),
    );
    return this.dims.map((_, place) => found.get(place)!);
  }

  [Symbol.dispose](): void {
    this.#executable[Symbol.dispose]();
  }
}

const isFed = (input: CaseInput | undefined) => input !== undefined && !input.constant;

/** Another number of the same type. */
function other({ dtype = "float32" }: CaseInput, number: number): number {
  if (dtype === "bool") return 1 - number;
  return isFloating(dtype) ? number + 0.375 : number + 1;
}

/** Throws where outputs differ elsewhere than may be. */
function assertSame(
  now: readonly number[],
  before: readonly number[],
  mayDiffer: (element: number) => boolean,
  what: string,
): void {
  const at = now.findIndex((number, i) => !mayDiffer(i) && !Object.is(number, before[i]));
  assertEquals(at, -1, `${what}: element ${at} was ${before[at]} and is ${now[at]}`);
}

async function checkElementwise(runner: Runner, test: OpCase): Promise<number> {
  using computed = await Computed.of(runner, test);
  const before = await computed.run();
  for (const [i, input] of test.inputs.entries()) {
    if (!isFed(input)) continue;
    const numbers = numbersOf(test, i);
    for (const entry of new Set([0, numbers.length >> 1, numbers.length - 1])) {
      const changed = numbers.with(entry, other(input!, numbers[entry]));
      const now = await computed.run(new Map([[i, changed]]));
      for (const [place, dims] of computed.dims.entries()) {
        const reads = sourceIndices(dims, broadcastStrides(input!.dims, dims));
        const what = `${test.title}, input ${i}, entry ${entry}, output ${place}`;
        assertSame(now[place], before[place], (element) => reads[element] === entry, what);
      }
    }
  }
  return 1;
}

const product = (dims: readonly number[]) => dims.reduce((size, dim) => size * dim, 1);

/** Leading axes of a value that hold `rows` rows, those of the result where it has the same. */
function leadIn(dims: readonly number[], of: readonly number[]): number | undefined {
  if (of.every((dim, axis) => dims[axis] === dim)) return of.length;
  return [1, 2].find((lead) => lead <= dims.length && product(dims.slice(0, lead)) === product(of));
}

/** @returns for how many numbers of leading axes the rule claims rows */
async function checkRows(runner: Runner, test: OpCase): Promise<number> {
  using computed = await Computed.of(runner, test);
  const { node, dims: [dims] } = computed;
  const { rows } = traitsOf(node);
  if (typeof rows === "string") return 0;
  const before = await computed.run();
  let claims = 0;
  for (let lead = 1; lead <= Math.min(2, dims.length); lead++) {
    const leading = dims.slice(0, lead);
    const inputDims = (value: string) => test.inputs[Number(value.slice(2))]!.dims;
    const of = rows(node, {
      lead,
      leadOf: (value) => leadIn(inputDims(value), leading),
      dims: inputDims,
      constant(value) {
        const i = Number(value.slice(2));
        const input = value === "" ? undefined : test.inputs[i];
        return input?.constant
          ? fromNumbers(input.dtype ?? "float32", input.dims, numbersOf(test, i))
          : undefined;
      },
    });
    if (of === undefined) continue;
    const operands = of === "first" ? [0] : [...test.inputs.keys()];
    if (operands.some((i) => !isFed(test.inputs[i]))) continue;
    claims++;
    const count = product(leading);
    for (const row of new Set([0, count - 1])) {
      const changed = new Map(operands.map((i) => {
        const numbers = numbersOf(test, i);
        const size = numbers.length / count;
        return [
          i,
          numbers.map((x, e) => Math.floor(e / size) === row ? other(test.inputs[i]!, x) : x),
        ];
      }));
      const now = await computed.run(changed);
      for (const [place, numbers] of now.entries()) {
        const size = numbers.length / count;
        assertEquals(numbers.length % count, 0, `${test.title}: output ${place} has rows`);
        const what = `${test.title}, ${lead} leading axes, row ${row}, output ${place}`;
        assertSame(numbers, before[place], (e) => Math.floor(e / size) === row, what);
      }
    }
    if (lead === 1 && count > 1 && node.opType !== "Reshape") {
      await checkFewerRows(runner, test, operands, count - 1, before);
    }
  }
  return claims;
}

/** Fewer rows of the operands make the same rows of the results: no other input has an entry a row. */
async function checkFewerRows(
  runner: Runner,
  test: OpCase,
  operands: readonly number[],
  rows: number,
  all: readonly (readonly number[])[],
): Promise<void> {
  const fewer = {
    ...test,
    inputs: test.inputs.map((input, i) => {
      if (!operands.includes(i)) return input && { ...input, values: numbersOf(test, i) };
      const dims = input!.dims.with(0, rows);
      return { ...input!, dims, values: numbersOf(test, i).slice(0, product(dims)) };
    }),
  };
  using computed = await Computed.of(runner, fewer);
  const found = await computed.run();
  for (const [place, numbers] of found.entries()) {
    const expected = all[place].slice(0, numbers.length);
    // Kernels of products add up in another order for another number of rows.
    assertNear(numbers, expected, 1e-6, `${test.title}, fewer rows, output ${place}`);
  }
}

for (const rule of RULES) {
  const { opType, traits: { rows } } = rule;
  const name = rule.domain === "" ? opType : `${rule.domain}.${opType}`;
  const cases = casesOf(rule);
  if (rows === "mixed") continue;
  const check = rows === "elementwise" ? checkElementwise : checkRows;
  const how = rows === "elementwise" ? "each element by itself" : "each row by itself";
  Deno.test(`${name} computes ${how} where its rule says so`, async () => {
    using runner = createOrtRunner({ threads: 1, ortLib: Deno.env.get("GRAFT_ORT_LIB") });
    let claims = 0;
    for (const test of cases) claims += await check(runner, test);
    assert(claims > 0, "no case of it claims that");
  });
}

/** A width of several tiles of 32 columns, and a few rows. */
const [ROWS, COLUMNS, TILE] = [5, 96, 32];

/** The operator on numbers that all functions take, [ROWS, COLUMNS] or a part of it. */
function wide(test: OpCase, dims: readonly number[], part: (e: number) => boolean): OpCase {
  const inputs = test.inputs.map((input, i) => {
    if (!isFed(input)) return input;
    const { dtype = "float32" } = input!;
    const numbers = numbersFor(`${test.opType} wide ${i}`, ROWS * COLUMNS);
    const values = numbers.map((x) => {
      const positive = Math.abs(x) + 0.05;
      if (dtype === "bool") return Number(x > 0);
      return isFloating(dtype) ? positive : Math.ceil(positive * 3);
    });
    return { ...input!, dims, values: values.filter((_, e) => part(e)) };
  });
  return { ...test, inputs };
}

for (const rule of RULES) {
  const { domain, opType, traits } = rule;
  // Tiles and views are of ONNX's own operators, as calls hold them.
  if (traits.rows !== "elementwise" || domain !== "" || isLowered(rule)) continue;
  Deno.test(`${opType} of a tile and of a view is that of the whole to the bit`, async () => {
    using runner = createOrtRunner({ threads: 1, ortLib: Deno.env.get("GRAFT_ORT_LIB") });
    const test = casesOf(rule).find(({ inputs }) =>
      inputs.every((input) => isFed(input) || input === undefined || product(input.dims) === 1)
    );
    if (test === undefined) throw new Error("no case has constants for all elements alone");
    const run = async (dims: readonly number[], part: (e: number) => boolean) => {
      using computed = await Computed.of(runner, wide(test, dims, part));
      return (await computed.run())[0];
    };
    const whole = await run([ROWS, COLUMNS], () => true);
    assertSame(await run([ROWS * COLUMNS], () => true), whole, () => false, "a view");
    for (let from = 0; from < COLUMNS; from += TILE) {
      const isIn = (e: number) => e % COLUMNS >= from && e % COLUMNS < from + TILE;
      const tile = await run([ROWS, TILE], isIn);
      assertSame(tile, whole.filter((_, e) => isIn(e)), () => false, `columns from ${from}`);
    }
  });
}

/** Whether a rule's operator gives its first input's elements, and nothing else. */
const moves = ({ traits: { kind } }: OpRule) => kind === "movement" || kind === "lookup";

for (const rule of RULES.filter((rule) => moves(rule) && casesOf(rule).length > 0)) {
  const isView = traitsOf(rule).memory === "view";
  const what = isView ? "all elements of its input in their order" : "elements of its input alone";
  Deno.test(`${rule.opType} gives ${what}`, async () => {
    using runner = createOrtRunner({ threads: 1, ortLib: Deno.env.get("GRAFT_ORT_LIB") });
    for (const test of casesOf(rule)) {
      if (!isFed(test.inputs[0])) continue;
      using computed = await Computed.of(runner, test);
      const { dtype = "float32", dims } = test.inputs[0]!;
      const given = Array.from(toNumbers(fromNumbers(dtype, dims, numbersOf(test, 0))), Number);
      for (const numbers of await computed.run()) {
        if (isView) assertEquals(numbers, given, test.title);
        else assert(numbers.every((number) => given.includes(number)), test.title);
      }
    }
  });
}
