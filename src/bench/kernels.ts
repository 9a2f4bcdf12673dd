/** Measures the kernels of `kernel_graphs.ts` on this device. */
import { RuntimeFailure } from "../errors.ts";
import { byteLength } from "../graph/dtype.ts";
import { elementCount, type Tensor } from "../graph/tensor.ts";
import type { ValueInfo } from "../graph/types.ts";
import { TRAINING_OPSETS } from "../ops/registry.ts";
import type { DeviceTensor, Executable, Runner } from "../runtime/runner.ts";
import { median } from "../statistics.ts";
import { SESSION_CONFIG } from "../train/plan_cache.ts";
import { formsFor, type KernelForm, kernelGraph, type StoredShape } from "./kernel_graphs.ts";
import type { KernelTiming } from "./kernel_table.ts";

/** Rounds of each product at least and at most, and the time after which no further one begins. */
const MIN_ROUNDS = 5;
const MAX_ROUNDS = 50;
const BUDGET_MS = 1000;

/**
 * Times every form of one product. The forms take turns, so that what else the machine does meets
 * all of them.
 *
 * @returns a timing a form, without a time where the runtime lacks the kernel
 */
export async function measureProduct(
  runner: Runner,
  shape: StoredShape,
  tokens: number,
): Promise<readonly KernelTiming[]> {
  using resources = new DisposableStack();
  const tried: { readonly form: KernelForm; readonly times: number[]; run?: Timed }[] = [];
  for (const form of formsFor(shape)) {
    const run = await Timed.compile(runner, form, shape, tokens);
    tried.push({ form, times: [], run: run && resources.use(run) });
  }
  // The first runs allocate and fill caches.
  for (const { run } of tried) await run?.milliseconds();
  const until = performance.now() + BUDGET_MS;
  for (let round = 0; round < MAX_ROUNDS; round++) {
    if (round >= MIN_ROUNDS && performance.now() > until) break;
    for (const { run, times } of tried) if (run !== undefined) times.push(await run.milliseconds());
  }
  return tried.map(({ form, times }) => ({
    ...shape,
    form: form.name,
    tokens,
    ...(times.length === 0 ? {} : { milliseconds: median(times) }),
  }));
}

/** A compiled form with its inputs in place. */
class Timed implements Disposable {
  private constructor(
    readonly executable: Executable,
    readonly feeds: Readonly<Record<string, DeviceTensor>>,
  ) {}

  /** @returns `undefined` where the runtime has no such kernel */
  static async compile(
    runner: Runner,
    form: KernelForm,
    shape: StoredShape,
    tokens: number,
  ): Promise<Timed | undefined> {
    const graph = kernelGraph(form, shape, tokens);
    const model = { irVersion: 10, opsets: TRAINING_OPSETS, graph, metadata: {} };
    try {
      const executable = await runner.compile(model, {
        label: form.name,
        config: SESSION_CONFIG,
        memoryPattern: false,
      });
      const feeds = graph.inputs.map((input) => [input.name, runner.upload(contents(input))]);
      return new Timed(executable, Object.fromEntries(feeds));
    } catch (error) {
      if (error instanceof RuntimeFailure) return undefined;
      throw error;
    }
  }

  async milliseconds(): Promise<number> {
    const start = performance.now();
    const results = await this.executable.run(this.feeds);
    const time = performance.now() - start;
    for (const result of Object.values(results)) result[Symbol.dispose]();
    return time;
  }

  [Symbol.dispose](): void {
    for (const feed of Object.values(this.feeds)) feed[Symbol.dispose]();
    this.executable[Symbol.dispose]();
  }
}

/** Plausible contents: integers over their whole range, floats of usual size (never denormal). */
function contents({ type }: ValueInfo): Tensor {
  const { dtype, shape } = type!;
  const dims = shape as readonly number[];
  const count = elementCount(dims);
  if (dtype === "float32") {
    const values = Float32Array.from({ length: count }, (_, i) => 0.5 + (i * 37 % 101) / 101);
    return { dtype, dims, bytes: new Uint8Array(values.buffer) };
  }
  // A zero point is in the middle of its range.
  if (dims.length === 0) return { dtype, dims, bytes: Uint8Array.of(dtype === "uint8" ? 128 : 0) };
  const bytes = Uint8Array.from({ length: byteLength(dtype, count) }, (_, i) => i * 97 + (i >> 8));
  return { dtype, dims, bytes };
}
