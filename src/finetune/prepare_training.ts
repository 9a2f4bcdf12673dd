/** Everything a fine-tuning run needs, from its configuration: model, data, adapter, optimiser. */
import type { TokenBatch } from "../data/targets.ts";
import type { Message } from "../errors.ts";
import { openRunner } from "../runtime/open_runner.ts";
import { MicroBatches } from "../train/micro_batches.ts";
import { adapterOutput } from "./adapter_output.ts";
import { frozenDigest } from "./adapted_model.ts";
import { openBase } from "./base_model.ts";
import { chooseStep, type ChosenStep } from "./choose_step.ts";
import type { FineTuneConfig } from "./config.ts";
import type { OnEvent, PreparationEvent } from "./events.ts";
import { frozenLayers } from "./frozen_layers.ts";
import { type DataAndAdapter, openDataAndAdapter } from "./data_and_adapter.ts";
import { optimizerFor } from "./optimizer_for.ts";
import type { OwnParts } from "./own_parts.ts";
import type { TrainingParts } from "./training_parts.ts";

/** How a preparation is watched and stopped. */
export interface PrepareOptions {
  /** Parts of the run that the caller supplies. */
  readonly own?: OwnParts;
  /** Called with what is found and chosen. */
  readonly onEvent?: OnEvent<PreparationEvent>;
  /** Checked between the steps of the preparation. */
  readonly signal?: AbortSignal;
}

/**
 * Loads and checks all parts of a run.
 *
 * @throws {BadInputError | UsageError} for a model, data or an adapter that cannot be used
 * @throws {RefusedError} if the graph that graft differentiates does not compute what the model does, or
 * memory does not suffice
 */
export async function prepareTraining(
  config: FineTuneConfig,
  { own = {}, onEvent = () => {}, signal }: PrepareOptions = {},
): Promise<TrainingParts<TokenBatch>> {
  using resources = new DisposableStack();
  const base = resources.use(openBase(config.model));
  const learned = resources.use(await openDataAndAdapter(base, config, onEvent, own));
  signal?.throwIfAborted();
  const onNote = (message: Message) => onEvent({ kind: "runtime note", message });
  // Each stage has its part of a comparison of providers: they would have to have the same ones.
  const where = own.peers?.pipeline === undefined ? config : { ...config, ep: ["cpu"] };
  const runner = own.runner ?? resources.use(openRunner(where, { onNote }));
  const chosen = await chooseStep({ base, learned, runner, config, own }, onEvent);
  resources.use(chosen.step);
  signal?.throwIfAborted();
  const optimizer = resources.use(await optimizerFor(runner, learned.adapted, chosen, config));
  const frozen = await frozenLayers(runner, chosen, learned);
  chosen.step.forgetComparisons();
  const kept = resources.move();
  return {
    ...partsOf(learned, chosen, own.peers?.pipeline?.stages ?? 1),
    ...adapterOutput(learned, chosen, config, runner),
    ...{ optimizer, frozen },
    [Symbol.dispose]: () => kept.dispose(),
  };
}

/** The parts that follow from data and step. */
function partsOf(
  { data, tokenizerDigest, adapted }: DataAndAdapter,
  chosen: ChosenStep,
  stages: number,
) {
  const { step, fit: { keepBytes, sequences, atOnce, shards }, forms, cut, baseDigest } = chosen;
  const frozen = frozenDigest(adapted);
  return {
    model: new MicroBatches(step, atOnce, shards, cut),
    ...{ data: data.train, validation: data.validation, test: data.test },
    numeric: chosen.choice,
    memory: { keepBytes, sequences, shards, stages, forms },
    identity: {
      ...{ base: baseDigest, tokenizer: tokenizerDigest, ...data.identity },
      ...(frozen === undefined ? {} : { frozen_part_of_adapter: frozen }),
    },
  };
}
