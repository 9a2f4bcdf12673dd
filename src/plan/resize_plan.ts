/**
 * Plans for other numbers of rows, from one plan.
 *
 * Batches come with ever other numbers of tokens and targets, and to plan each would take tens of
 * milliseconds. In a template, a plan for numbers of rows that are large primes, what came of one is a
 * multiple of it: dimensions, and what shapes and bounds among the constants say. Those are exchanged.
 * What is a multiple by chance would come out wrong, so that a resized plan's graphs have to be checked
 * against open graphs (`open_graph.ts`), which two plans were compared for.
 */
import { equals } from "@std/bytes/equals";
import { byteLength } from "../graph/dtype.ts";
import { elementCount, type Tensor } from "../graph/tensor.ts";
import type { Graph, ValueInfo } from "../graph/types.ts";
import { unwatched } from "../graph/watched.ts";
import type { PlannedCall } from "./call.ts";
import { bytesText } from "../graph/graph_text.ts";
import type { PlanOptions } from "./options.ts";
import type { TrainingPlan } from "./plan.ts";
import type { Schedule } from "./schedule.ts";
import { placeTensors } from "./step_memory.ts";

/** The numbers of rows that a plan is made for. */
export type PlanRows = Pick<PlanOptions, "packedRows" | "targetRows">;

/** Smaller primes divide other sizes too often. */
const LEAST_PRIME = 101;

/** The numbers of packed rows that one template serves, of a batch's sequences and length. */
export const TEMPLATE_SPANS = ["any", "half octave"] as const;
export type TemplateSpan = typeof TEMPLATE_SPANS[number];

/**
 * Primes to plan a template for that serves these numbers of rows, and all of a span of packed rows:
 * no smaller, so that what a template keeps is within its budget at every size. Target rows, which a
 * step keeps little of, share theirs over two octaves.
 *
 * @returns `undefined` where there are none, or nothing to exchange
 */
export function templateRows(
  { batch, length, packedRows, targetRows, commonTokens = 0 }: PlanOptions,
  span: TemplateSpan = "half octave",
): PlanRows | undefined {
  const sizes = [batch, length, ...(commonTokens > 0 ? [commonTokens] : [])];
  const positions = batch * length;
  // Packed rows are fewer than the positions that they are taken from.
  const packed = packedRows &&
    primeFor(packedRows, span === "any" ? positions : halfOctave(packedRows), positions, sizes);
  // Fewer than all rows, where that is so: few targets are chosen early.
  const all = packed ?? positions;
  const targets = targetRows && primeFor(
    targetRows,
    4 ** Math.ceil(Math.log2(targetRows) / 2),
    targetRows < all ? all : Infinity,
    sizes,
  );
  const missing = packedRows !== undefined && packed === undefined ||
    targetRows !== undefined && targets === undefined;
  if (missing || packed === undefined && targets === undefined) return undefined;
  return { packedRows: packed, targetRows: targets };
}

/** A prime that divides none of `sizes`: from `wanted` on, or of those below `end` the last from `rows` on. */
function primeFor(
  rows: number,
  wanted: number,
  end: number,
  sizes: readonly number[],
): number | undefined {
  const fits = (n: number) => isPrime(n) && sizes.every((size) => size % n !== 0);
  const least = Math.max(LEAST_PRIME, rows);
  const from = Math.max(LEAST_PRIME, wanted);
  // The next prime is never twice as far.
  for (let n = from; n < Math.min(end, 2 * from); n++) if (fits(n)) return n;
  for (let n = Math.min(end, from) - 1; n >= least; n--) if (fits(n)) return n;
}

/** The next power of two, or one and a half times one. */
function halfOctave(rows: number): number {
  const octave = 2 ** Math.ceil(Math.log2(rows));
  return rows <= 0.75 * octave ? 0.75 * octave : octave;
}

function isPrime(n: number): boolean {
  for (let d = 2; d * d <= n; d++) if (n % d === 0) return false;
  return n > 1;
}

/**
 * A template's plan at other numbers of rows.
 *
 * @param template for numbers of {@linkcode templateRows}
 * @returns `undefined` where it has constants that cannot be exchanged; its `savedBytes` are the
 *   template's
 */
export function resizePlan(template: TrainingPlan, rows: PlanRows): TrainingPlan | undefined {
  const resizing = new Resizing(template.options, rows);
  const plan = resizing.plan(template);
  return resizing.isFixed ? undefined : plan;
}

class Resizing {
  /** Whether a constant is as large as a number of rows, and its elements differ. */
  isFixed = false;
  readonly #rows: PlanRows;
  readonly #exchanged: readonly (readonly [number, number])[];
  /** One template's number of packed rows may be another's of target rows. */
  readonly #exchange: string;
  readonly #graphs = new Map<Graph, Pick<PlannedCall, "graph" | "key">>();
  /** Sizes by their numbers: the calls of a plan have the same shapes again and again. */
  readonly #sized = new Map<string, Tensor>();

  constructor(from: PlanRows, to: PlanRows) {
    this.#rows = to;
    this.#exchanged = (["packedRows", "targetRows"] as const).flatMap((name) => {
      const [here, there] = [from[name], to[name]];
      if (here !== undefined && there !== undefined) return [[here, there] as const];
      if (here !== there) throw new RangeError(`Both or neither plan must have ${name}`);
      return [];
    });
    this.#exchange = this.#exchanged.map(([from, to]) => `${from}→${to}`).join();
  }

  plan(template: TrainingPlan): TrainingPlan {
    const { options, training, evaluation, logits, constants, inputs, frozen, rows } = template;
    const { packedRows, targetRows } = this.#rows;
    return {
      ...template,
      options: { ...options, packedRows, targetRows },
      training: this.#schedule(training),
      evaluation: this.#schedule(evaluation),
      logits: this.#schedule(logits),
      constants: new Map([...constants].map(([name, value]) => [name, this.#constant(value)])),
      inputs: new Map(
        [...inputs].map(([name, { dtype, dims }]) => [name, { dtype, dims: this.#dims(dims) }]),
      ),
      frozen: frozen && { ...frozen, dims: this.#dims(frozen.dims) },
      rows: targetRows ?? rows,
    };
  }

  #schedule({ calls, release }: Schedule): Schedule {
    const resized = calls.map((call) => ({ ...call, ...this.#graph(call) }));
    return { calls: resized, release, memory: placeTensors(resized, release) };
  }

  #graph({ graph, key }: PlannedCall): Pick<PlannedCall, "graph" | "key"> {
    let found = this.#graphs.get(graph);
    if (found === undefined) {
      const resized = this.#resized(graph);
      found = resized === graph
        ? { graph, key }
        : { graph: resized, key: `${key} at ${this.#exchange}` };
      this.#graphs.set(graph, found);
    }
    return found;
  }

  /** @returns the graph itself where no size is exchanged */
  #resized(graph: Graph): Graph {
    const inputs = graph.inputs.map((info) => this.#info(info));
    const outputs = graph.outputs.map((info) => this.#info(info));
    const initializers = new Map(
      [...graph.initializers].map(([name, value]) => [name, this.#sizes(this.#constant(value))]),
    );
    const same = inputs.every((info, i) => info === graph.inputs[i]) &&
      outputs.every((info, i) => info === graph.outputs[i]) &&
      [...initializers].every(([name, value]) => value === graph.initializers.get(name));
    return same ? graph : { ...graph, inputs, outputs, initializers };
  }

  #info(info: ValueInfo): ValueInfo {
    const { name, type } = info;
    const dims = type!.shape as readonly number[];
    const resized = this.#dims(dims);
    return resized === dims ? info : { name, type: { dtype: type!.dtype, shape: resized } };
  }

  /** @returns the dimensions themselves where none is exchanged */
  #dims(dims: readonly number[]): readonly number[] {
    const resized = dims.map((dim) => this.#number(dim));
    return resized.some((dim, i) => dim !== dims[i]) ? resized : dims;
  }

  #number(n: number): number {
    for (const [from, to] of this.#exchanged) if (n % from === 0) return n / from * to;
    return n;
  }

  /** A constant of fewer elements, where all are the same. */
  #constant(value: Tensor): Tensor {
    const dims = this.#dims(value.dims);
    if (dims === value.dims) return value;
    const { dtype } = value;
    const { bytes } = unwatched(value);
    const length = byteLength(dtype, elementCount(dims));
    if (length > bytes.length || !isUniform(value)) {
      this.isFixed = true;
      return value;
    }
    return { dtype, dims, bytes: bytes.subarray(0, length) };
  }

  /** A constant with the sizes among its elements exchanged. */
  #sizes(value: Tensor): Tensor {
    if (value.dtype !== "int64") return value;
    const { bytes } = unwatched(value);
    const resized = bytes.slice();
    const view = new DataView(resized.buffer);
    let changed = false;
    for (let at = 0; at < resized.length; at += 8) {
      const n = view.getBigInt64(at, true);
      if (n < 0n || n > MOST) continue; // an axis, an end without a bound
      const size = this.#number(Number(n));
      if (BigInt(size) === n) continue;
      view.setBigInt64(at, BigInt(size), true);
      changed = true;
    }
    return changed ? this.#shared({ dtype: value.dtype, dims: value.dims, bytes: resized }) : value;
  }

  #shared(sizes: Tensor): Tensor {
    const text = `[${sizes.dims}]${bytesText(sizes.bytes)}`;
    const known = this.#sized.get(text) ?? sizes;
    this.#sized.set(text, known);
    return known;
  }
}

/** By constants of templates, each of which is asked about for every plan that comes of it. */
const uniform = new WeakMap<Tensor, boolean>();

/** Whether all elements are the same. */
function isUniform(value: Tensor): boolean {
  const known = uniform.get(value);
  if (known !== undefined) return known;
  const { bytes } = unwatched(value);
  const size = bytes.length / elementCount(value.dims);
  const found = Number.isInteger(size) && equals(bytes.subarray(size), bytes.subarray(0, -size));
  uniform.set(value, found);
  return found;
}

/** No size is as large; dropout has numbers that are. */
const MOST = 2n ** 28n;
