/** Measures the kernels of `kernel_graphs.ts` on this device. */
import type { Runner } from "../runtime/runner.ts";
import { formSaturates } from "../runtime/saturates.ts";
import { median } from "../statistics.ts";
import { formsFor, type KernelForm, kernelGraph, type StoredShape } from "./kernel_graphs.ts";
import type { KernelTiming } from "./kernel_table.ts";
import { TimedGraph } from "./timed_graph.ts";

/** How thoroughly a product is measured. */
export interface Effort {
  /** The least and the most rounds, not counting the first, which is discarded. */
  readonly rounds: readonly [number, number];
  /** Milliseconds after which no further round begins. */
  readonly budgetMs: number;
}

const THOROUGH: Effort = { rounds: [5, 50], budgetMs: 1000 };

/**
 * Times forms of one product. They take turns, so that other load on the machine affects all of them.
 *
 * @param forms default all that the shape has
 * @returns one timing per form, without a time if the runtime lacks the kernel
 */
export async function measureProduct(
  runner: Runner,
  shape: StoredShape,
  tokens: number,
  forms: readonly KernelForm[] = formsFor(shape),
  { rounds: [least, most], budgetMs }: Effort = THOROUGH,
): Promise<readonly KernelTiming[]> {
  using resources = new DisposableStack();
  const tried: { readonly form: KernelForm; readonly times: number[]; run?: TimedGraph }[] = [];
  for (const form of forms) {
    const run = await TimedGraph.compile(runner, kernelGraph(form, shape, tokens));
    tried.push({ form, times: [], run: run && resources.use(run) });
  }
  // The first runs allocate and fill caches.
  for (const { run } of tried) await run?.milliseconds();
  const until = performance.now() + budgetMs;
  for (let round = 0; round < most; round++) {
    if (round >= least && performance.now() > until) break;
    for (const { run, times } of tried) if (run !== undefined) times.push(await run.milliseconds());
  }
  const timings: KernelTiming[] = [];
  for (const { form, times } of tried) {
    const about = { ...shape, form: form.name, tokens };
    if (times.length === 0) timings.push(about);
    else {
      const wrong = await isWrong(runner, form) ? { saturates: true } as const : {};
      timings.push({ ...about, milliseconds: median(times), ...wrong });
    }
  }
  return timings;
}

/** Products of floats saturate nowhere. */
async function isWrong(runner: Runner, { integers }: KernelForm): Promise<boolean> {
  return integers !== undefined && await formSaturates(runner, integers);
}
