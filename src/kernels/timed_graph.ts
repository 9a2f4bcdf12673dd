/** A compiled graph with made-up inputs in place, to be timed. */
import { RuntimeFailure } from "../errors.ts";
import { type CodeType, ZERO_POINTS } from "../graph/codes.ts";
import { byteLength } from "../graph/dtype.ts";
import { elementCount, type Tensor } from "../graph/tensor.ts";
import type { Graph, ValueInfo } from "../graph/types.ts";
import { TRAINING_OPSETS } from "../ops/registry.ts";
import type { DeviceTensor, Executable, Runner } from "../runtime/runner.ts";
import { timedRun } from "../runtime/timed_run.ts";
import { SESSION_CONFIG } from "../train/call_sessions.ts";

/** A graph of concrete shapes, compiled as a training step's sessions are. */
export class TimedGraph implements Disposable {
  private constructor(
    readonly executable: Executable,
    readonly feeds: Readonly<Record<string, DeviceTensor>>,
  ) {}

  /** @returns `undefined` if the runtime has no such kernel */
  static async compile(runner: Runner, graph: Graph): Promise<TimedGraph | undefined> {
    const model = { irVersion: 10, opsets: TRAINING_OPSETS, graph, metadata: {} };
    try {
      const executable = await runner.compile(model, {
        label: graph.name,
        config: SESSION_CONFIG,
        memoryPattern: false,
      });
      const feeds = graph.inputs.map((input) => [input.name, runner.upload(contents(input))]);
      return new TimedGraph(executable, Object.fromEntries(feeds));
    } catch (error) {
      if (error instanceof RuntimeFailure) return undefined;
      throw error;
    }
  }

  /** Runs once. */
  milliseconds(): Promise<number> {
    return timedRun(this.executable, this.feeds);
  }

  [Symbol.dispose](): void {
    for (const feed of Object.values(this.feeds)) feed[Symbol.dispose]();
    this.executable[Symbol.dispose]();
  }
}

/** Plausible contents: integers over their whole range, floats of usual magnitude (never denormal). */
function contents({ type }: ValueInfo): Tensor {
  const { dtype, shape } = type!;
  const dims = shape as readonly number[];
  const count = elementCount(dims);
  if (dtype === "float32") {
    const values = Float32Array.from({ length: count }, (_, i) => 0.5 + (i * 37 % 101) / 101);
    return { dtype, dims, bytes: new Uint8Array(values.buffer) };
  }
  // A zero point is in the middle of its range.
  if (dims.length === 0) {
    return { dtype, dims, bytes: Uint8Array.of(ZERO_POINTS[dtype as CodeType]) };
  }
  const bytes = Uint8Array.from({ length: byteLength(dtype, count) }, (_, i) => i * 97 + (i >> 8));
  return { dtype, dims, bytes };
}
