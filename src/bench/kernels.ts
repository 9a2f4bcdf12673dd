/** Measures the kernels of `kernel_graphs.ts` on this device. */
import type { Runner } from "../runtime/runner.ts";
import { median } from "../statistics.ts";
import { formsFor, type KernelForm, kernelGraph, type StoredShape } from "./kernel_graphs.ts";
import type { KernelTiming } from "./kernel_table.ts";
import { TimedGraph } from "./timed_graph.ts";

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
  const tried: { readonly form: KernelForm; readonly times: number[]; run?: TimedGraph }[] = [];
  for (const form of formsFor(shape)) {
    const run = await TimedGraph.compile(runner, kernelGraph(form, shape, tokens));
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
