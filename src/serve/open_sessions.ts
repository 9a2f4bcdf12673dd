/** Opens a language model for requests: as many at the same time as its graph allows. */
import type { Model } from "../graph/types.ts";
import type { Runner } from "../runtime/runner.ts";
import { BatchedSessions } from "./batched_sessions.ts";
import { BatchReader } from "./batch_reader.ts";
import { pairCaches } from "./cache_pairs.ts";
import { CausalModel } from "./causal_model.ts";
import { withChosenLogits } from "./last_logits.ts";
import { SerialSessions } from "./serial_sessions.ts";
import type { TokenSessions } from "./token_sessions.ts";

/** Sessions, and the compiled model that they use. */
export interface OpenSessions extends Disposable {
  readonly sessions: TokenSessions;
}

/**
 * Compiles a model for generation.
 *
 * @param label its name in errors
 * @param parallel texts that should be read together; one if the model's caches, or the device, do not
 *   allow more
 * @throws {BadInputError} if the model has no logits or a cache that graft cannot pair
 */
export async function openSessions(
  runner: Runner,
  model: Model,
  label: string,
  parallel: number,
): Promise<OpenSessions> {
  const batched = parallel > 1 ? await openBatched(runner, model, label, parallel) : undefined;
  if (batched !== undefined) return batched;
  const causal = await CausalModel.open(runner, model, label);
  return { sessions: new SerialSessions(causal), [Symbol.dispose]: () => causal[Symbol.dispose]() };
}

async function openBatched(
  runner: Runner,
  model: Model,
  label: string,
  parallel: number,
): Promise<OpenSessions | undefined> {
  const chosen = withChosenLogits(model);
  using resources = new DisposableStack();
  const pairs = pairCaches(chosen.graph);
  const executable = resources.use(await runner.compile(chosen, { label }));
  const parts = { runner, executable, graph: chosen.graph, pairs };
  if (!BatchReader.fits(parts)) return undefined;
  const reader = resources.use(new BatchReader(parts, parallel));
  const owned = resources.move();
  return { sessions: new BatchedSessions(reader), [Symbol.dispose]: () => owned.dispose() };
}
