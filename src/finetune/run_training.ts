/** A training run from its parts: resumed, trained, checkpointed, its adapter saved and tested. */
import type { StoredAdapter } from "../hub/adapter_store.ts";
import { saveAdapterAs } from "../model/store_adapter.ts";
import { validate } from "../train/validate.ts";
import type { TrainOutcome } from "../train/events.ts";
import { viewParameters } from "../train/loop.ts";
import type { Peers } from "../train/peers.ts";
import type { Batch } from "../train/step.ts";
import { checkHeldOut, checkRuns } from "./check_runs.ts";
import type { FineTuneConfig } from "./config.ts";
import { Evaluations } from "./evaluations.ts";
import type { OnEvent, RunEvent, TestMetrics } from "./events.ts";
import { checkConfig } from "./resolve_config.ts";
import { runLoop } from "./run_loop.ts";
import type { TrainingParts } from "./training_parts.ts";

/** How a run is watched and stopped. */
export interface RunOptions {
  /** Ends the run cleanly after the current batch: the adapter and a checkpoint are saved. */
  readonly signal?: AbortSignal;
  readonly onEvent?: OnEvent<RunEvent>;
  /** Other processes of the run, whose `ending` is then the signal; the first of them writes. */
  readonly peers?: Peers;
}

/** The result of a fine-tuning run. */
export interface FineTuneResult {
  /** Folder of the adapter. */
  readonly adapterPath: string;
  /** How training ended; absent if it was not asked for. */
  readonly training?: TrainOutcome;
  /** The adapter in graft's store, if the configuration names it. */
  readonly stored?: StoredAdapter;
  /** The result on the test data, if the configuration asks for it and training came to its end. */
  readonly test?: TestMetrics;
}

/**
 * Runs training to its end and saves the adapter.
 *
 * @throws {ParameterError} for parameters that contradict each other, what is on disk, or the data
 * @throws {StorageError} if something cannot be written
 */
export async function runTraining<B extends Batch>(
  parts: TrainingParts<B>,
  asked: FineTuneConfig,
  { signal, onEvent = () => {}, peers }: RunOptions = {},
): Promise<FineTuneResult> {
  const config = { ...asked, numeric: parts.numeric?.setting ?? asked.numeric };
  checkConfig(config);
  if (writes(peers)) checkRuns(config);
  checkHeldOut(parts, config);
  const { adapterPath } = config;
  const watched = { signal, onEvent, peers };
  if (!config.train) return { adapterPath, test: await runTest(parts, watched) };
  const training = await trainAndSave(parts, config, watched);
  if (training.end === "interrupted" || training.end === "diverged") {
    return { adapterPath, training };
  }
  const stored = config.saveAs === undefined || !writes(peers)
    ? undefined
    : storeAs(config.saveAs, adapterPath, onEvent);
  const test = config.test ? await runTest(parts, watched) : undefined;
  return { adapterPath, training, stored, test };
}

type Watched = RunOptions & Required<Pick<RunOptions, "onEvent">>;

/** Of several processes, the first writes. */
const writes = (peers: Peers | undefined) => (peers?.rank ?? 0) === 0;

async function trainAndSave<B extends Batch>(
  parts: TrainingParts<B>,
  config: FineTuneConfig,
  { onEvent, signal, peers }: Watched,
): Promise<TrainOutcome> {
  const { adapterPath } = config;
  const evaluations = new Evaluations();
  const outcome = await runLoop(parts, config, { evaluations, onEvent, signal, peers });
  if (!writes(peers)) return outcome;
  parts.saveAdapter(adapterPath, viewParameters(parts.model));
  await parts.saveEvaluation?.(adapterPath, evaluations.around(outcome.parametersOfStep));
  onEvent({ kind: "saved", adapterPath, outcome });
  return outcome;
}

function storeAs(name: string, adapterPath: string, onEvent: OnEvent<RunEvent>): StoredAdapter {
  const adapter = saveAdapterAs(name, adapterPath);
  onEvent({ kind: "stored", name, adapter });
  return adapter;
}

async function runTest<B extends Batch>(
  { model, test }: TrainingParts<B>,
  { onEvent, signal, peers }: Watched,
): Promise<TestMetrics> {
  const found = await validate(model, test!, -1, signal, peers); // its presence was checked
  if (found === undefined) throw signal!.reason;
  const metrics = { loss: found.loss, accuracy: found.accuracy };
  onEvent({ kind: "tested", metrics });
  return metrics;
}
