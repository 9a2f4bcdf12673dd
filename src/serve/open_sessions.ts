/** Opens a language model for requests: as many at the same time as its graph allows. */
import type { Model } from "../graph/types.ts";
import type { Runner } from "../runtime/runner.ts";
import type { AdapterInputs } from "./adapter_inputs.ts";
import { BatchedSessions } from "./batched_sessions.ts";
import { BatchReader } from "./batch_reader.ts";
import { pairCaches } from "./cache_pairs.ts";
import { CausalModel } from "./causal_model.ts";
import { withChosenLogits } from "./last_logits.ts";
import { SerialSessions } from "./serial_sessions.ts";
import type { TokenSessions } from "./token_sessions.ts";

/** What is opened. */
export interface SessionsOptions {
  /** Name of the model in errors. */
  readonly label: string;
  /** Texts that should be read together. */
  readonly parallel: number;
  /** The same model with adapters as inputs, used if texts can be read together. */
  readonly switched?: { readonly model: Model; readonly inputs: AdapterInputs };
}

/** Sessions, and the compiled model that they use. */
export interface OpenSessions extends Disposable {
  readonly sessions: TokenSessions;
  /** Whether a session may have an adapter. */
  readonly takesAdapters?: boolean;
}

/**
 * Compiles a model for generation: for several texts at the same time, or with adapters as inputs, if the
 * model's caches and the device allow it, otherwise for one text.
 *
 * @throws {BadInputError} if the model has no logits or a cache that graft cannot pair
 */
export async function openSessions(
  runner: Runner,
  model: Model,
  options: SessionsOptions,
): Promise<OpenSessions> {
  const { label, parallel, switched } = options;
  const isBatched = parallel > 1 || switched !== undefined;
  const batched = isBatched ? await openBatched(runner, model, options) : undefined;
  if (batched !== undefined) return batched;
  const causal = await CausalModel.open(runner, model, label);
  return { sessions: new SerialSessions(causal), [Symbol.dispose]: () => causal[Symbol.dispose]() };
}

async function openBatched(
  runner: Runner,
  model: Model,
  { label, parallel, switched }: SessionsOptions,
): Promise<OpenSessions | undefined> {
  const { graph } = withChosenLogits(model);
  const pairs = pairCaches(graph);
  if (!BatchReader.fits({ runner, graph, pairs })) return undefined;
  using resources = new DisposableStack();
  const compiled = withChosenLogits(switched?.model ?? model);
  const executable = resources.use(await runner.compile(compiled, { label }));
  const parts = { runner, executable, graph, pairs };
  const reader = resources.use(new BatchReader(parts, parallel, switched?.inputs));
  const owned = resources.move();
  return {
    sessions: new BatchedSessions(reader),
    takesAdapters: switched !== undefined,
    [Symbol.dispose]: () => owned.dispose(),
  };
}
