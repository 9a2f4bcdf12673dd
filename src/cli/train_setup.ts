/** Everything `graft train` needs, from its flags: model, data, adapter, optimiser. */
import { dirname } from "@std/path";
import { batchesDigest } from "../data/batches_digest.ts";
import { GuardedText } from "../data/mod.ts";
import { type RowCut, withoutPadding } from "../data/row_cuts.ts";
import { sliceBatch } from "../data/slice_batch.ts";
import { quantizedConstantBytes } from "../graph/passes/quantize_constants.ts";
import { elementCount } from "../graph/tensor.ts";
import type { Model } from "../graph/types.ts";
import type { AdapterCard } from "../lora/adapter_card.ts";
import { adapterDigest } from "../hub/adapter_store.ts";
import { modelDigest } from "../lora/digest.ts";
import { type LinearModule, otherProducts } from "../lora/mod.ts";
import { adapterFolder, loadAdapter, readAdapterFiles, saveAdapter } from "../model/adapter_dir.ts";
import { writeEvaluationRecord } from "../model/evaluation_record.ts";
import { countParameters } from "../model/count_parameters.ts";
import { findModelFile, homeOf } from "../model/find_model.ts";
import { loadOnnx } from "../model/load_onnx.ts";
import { readModelLabels } from "../model/model_labels.ts";
import { readTextFiles, tokenizerSize } from "../model/tokenizer_files.ts";
import { type Arithmetic, changed, isRotated, isSliced, numericOf } from "../plan/arithmetic.ts";
import { checkInputs } from "../plan/inputs.ts";
import type { Runner } from "../runtime/runner.ts";
import { spreadBatches } from "../train/spread_batches.ts";
import { chooseArithmetic } from "../train/choose_arithmetic.ts";
import { passControlHere } from "../train/left_out_passes.ts";
import { compareForward } from "../train/compare_forward.ts";
import { graphOptimizer } from "../train/graph_optimizer.ts";
import { MicroBatches } from "../train/micro_batches.ts";
import { PlannedModel } from "../train/planned_model.ts";
import type { TokenBatch } from "../data/targets.ts";
import { OPTIMIZER_DEFAULTS } from "../train/update_rules.ts";
import { VERSION } from "../version.ts";
import { fileValues } from "./config.ts";
import { inputsOf } from "./encode_data.ts";
import { formatCount, formatShare } from "./format.ts";
import { holdNotes, type Terminal } from "./output.ts";
import type { FrozenLayers } from "./prefix_cache.ts";
import type { TrainSetup } from "./run_training.ts";
import { runForms } from "./run_forms.ts";
import { openProcessor, openRunner } from "./runtime_flags.ts";
import {
  type AdaptedModel,
  adapterOf,
  addAdapter,
  checkScoresTokens,
  continueAdapter,
  hasLogits,
  labelsFor,
  targetsOf,
} from "./train_adapter.ts";
import { chooseNumeric } from "./train_numeric.ts";
import { checkProvider } from "./train_provider.ts";
import { loadTrainData, type TrainData } from "./train_data.ts";
import { TRAIN_FLAGS, type TrainFlags } from "./train_flags.ts";
import { fitTraining } from "./train_memory.ts";

/** Encoded data, and which tokenizer encoded it. */
export interface LoadedData {
  readonly data: TrainData;
  readonly tokenizerDigest: string;
}

/** Parts of a run that its caller brings: what is measured is a training like any other. */
export interface OwnParts {
  /** Stays the caller's. */
  readonly runner?: Runner;
  readonly loadData?: (model: Model) => LoadedData;
  /** Parts of a batch that are computed beside each other, instead of as many as usual. */
  readonly shards?: number;
  /** Whether padding is left out of what treats tokens one by one; default true. */
  readonly packing?: boolean;
  /** Whether what sequences begin with is computed once; default true. */
  readonly sharesPrefixes?: boolean;
}

/**
 * Loads and checks all parts of a run.
 *
 * @throws {BadInputError | UsageError} for what the user gave and cannot be used
 * @throws {RefusedError} where the graph graft differentiates does not compute what the model does
 */
export async function setUpTraining(
  flags: TrainFlags,
  terminal: Terminal,
  own: OwnParts = {},
): Promise<TrainSetup<TokenBatch>> {
  using resources = new DisposableStack();
  const modelFile = findModelFile(flags.model);
  const folder = homeOf(modelFile);
  const { model, sizeBytes } = resources.use(loadOnnx(modelFile));
  checkInputs(model.graph);
  // A target that is not there is told before hours of data are encoded.
  const targets = flags.resumeAdapterFile === undefined ? targetsOf(model, flags) : undefined;
  using later = holdNotes(terminal);
  if (targets !== undefined) tellOthers(model, targets.modules, later);
  const { data, tokenizerDigest } = own.loadData?.(model) ??
    await encodeData(flags, model, folder, later);
  resources.use(data);
  if (data.task === "causal") checkScoresTokens(model, flags.data);
  const adapted = flags.resumeAdapterFile === undefined
    ? addAdapter(model, flags, data.labels, targets)
    : adaptFurther(model, flags.resumeAdapterFile, flags.loraDropout, data, later);
  terminal.note(formatTrainable(model, adapted));
  later.release();
  const runner = own.runner ?? resources.use(openRunner(flags));
  const forms = await runForms(flags, runner, model, terminal);
  const options = {
    runner,
    model: adapted.model,
    trainable: adapted.trained,
    objective: data.task,
    dropout: flags.loraDropout,
    packing: own.packing,
    sharesPrefixes: own.sharesPrefixes,
    passControl: passControlHere(),
  };
  const open = async (arithmetic: Arithmetic) => {
    const settings = { ...options, arithmetic };
    const fit = await fitTraining(
      {
        options: settings,
        data,
        weightBytes: sizeBytes + quantizedConstantBytes(model.graph),
        tokenizerBytes: own.loadData ? 0 : tokenizerSize(folder),
        shards: own.shards,
      },
      { ...flags, numeric: numericOf(arithmetic) },
      terminal,
    );
    const { keepBytes, readyWeights, shards } = fit;
    const step = new PlannedModel({
      ...{ ...settings, keepBytes, ownsInitialValues: true, shards },
      arithmetic: changed(arithmetic, { readyWeights }),
    });
    return { arithmetic, fit, step };
  };
  const asked = flags.train && flags.numeric === "fast" && forms.quicker !== "exact"
    ? "fast"
    : "exact";
  const exact = await chooseArithmetic(runner, {
    ...forms,
    numeric: "exact",
    sliced: forms.sliced === true && flags.train && runner.inPlace,
  });
  const first = await open(
    asked === "fast" ? await chooseArithmetic(runner, { ...forms, numeric: "fast" }) : exact,
  );
  using untilChosen = new DisposableStack();
  untilChosen.use(first.step);
  const batch = await data.train.batch(0, 0);
  const cut = await checkForward(runner, adapted.model, first.step, batch, terminal);
  if (runner.providers.length > 0) {
    using processor = openProcessor(flags);
    const rows = sliceBatch(batch, 0, first.fit.sequences);
    await checkProvider(first.step, options, processor, rows, terminal, cut);
  }
  // Reads all weights: before those of `fast` are made, so that both are never there at once.
  const baseDigest = modelDigest(model);
  const { opened, choice } = await chooseNumeric(first, open, batch, terminal, {
    ...forms,
    exact,
    cut,
  });
  untilChosen.move();
  const step = resources.use(opened.step);
  const { keepBytes, sequences, atOnce, shards } = opened.fit;
  const used = {
    ...forms,
    rotated: isRotated(opened.arithmetic),
    sliced: isSliced(opened.arithmetic),
    quicker: choice.quicker,
  };
  const optimizer = resources.use(
    await graphOptimizer(runner, step.parameters, {
      ...OPTIMIZER_DEFAULTS,
      name: flags.optimizer,
      weightDecay: flags.weightDecay,
    }, shards),
  );
  const card: AdapterCard = {
    baseDigest,
    tokenizerDigest,
    task: data.task,
    labels: data.labels,
    pooling: adapted.newHead ? flags.pooling : undefined,
    dataDigest: data.identity.train_data,
    parents: parentsOf(flags.resumeAdapterFile),
    config: fileValues({ ...flags, numeric: choice.setting }, TRAIN_FLAGS),
  };
  const { dequantForm, integerForm, rotated, sliced } = used;
  // Value by value: an object's order depends on whether it was measured or read by a resume.
  const prefixIdentity = JSON.stringify([
    ...[baseDigest, runner.description, VERSION, dequantForm, integerForm, rotated, sliced],
  ]);
  const frozen = frozenLayers(step, sliceBatch(batch, 0, sequences), prefixIdentity);
  step.forgetComparisons();
  const kept = resources.move();
  return {
    model: new MicroBatches(step, atOnce, shards, cut),
    optimizer,
    data: data.train,
    validation: data.validation,
    test: data.test,
    numeric: choice,
    memory: { keepBytes, sequences, shards, forms: used },
    frozen,
    identity: { base: baseDigest, tokenizer: tokenizerDigest, ...data.identity },
    saveAdapter: (directory, parameters) =>
      saveAdapter(directory, adapterOf(adapted, parameters, card)),
    saveEvaluation: async (directory, found) => {
      // Only an adapter that began as nothing was the base before its first step.
      const isBase = flags.resumeAdapterFile === undefined && data.task === "causal";
      if (found === undefined || !isBase || data.validation === undefined) return;
      const dataDigest = await batchesDigest(spreadBatches(data.validation, flags.valBatches));
      writeEvaluationRecord(directory, { runtime: runner.description, dataDigest, ...found });
    },
    [Symbol.dispose]: () => kept.dispose(),
  };
}

/** The trainable share, as the first thing a run says. */
function formatTrainable(base: Model, { model, trained }: AdaptedModel): string {
  const count = [...trained].reduce(
    (sum, name) => sum + elementCount(model.graph.initializers.get(name)!.dims),
    0,
  );
  const all = countParameters(base) + count;
  return `Trainable parameters: ${formatShare(count / all)} ` +
    `(${formatCount(count)} of ${formatCount(all)})`;
}

/**
 * Reads and encodes the data. The tokenizer's tables can take more memory than a small model's
 * weights: they are gone before anything is compiled.
 */
async function encodeData(
  flags: TrainFlags,
  model: Model,
  folder: string,
  terminal: Terminal,
): Promise<LoadedData> {
  using text = await GuardedText.start(readTextFiles(folder));
  const data = await loadTrainData(
    flags,
    { text, ...inputsOf(model.graph), vocabSize: vocabularyOf(model) },
    (found, source) => labelsFor(model, readModelLabels(folder), found, source),
    terminal,
  );
  return { data, tokenizerDigest: text.info.digest };
}

/** @param identity what decides results of a model's layers */
function frozenLayers(
  step: PlannedModel,
  batch: TokenBatch,
  identity: string,
): FrozenLayers | undefined {
  if (step.planOf(batch, { passes: [] }).frozen === undefined) return undefined;
  return { identity, keepIn: (file) => step.activations = file };
}

/** mlx_lm names the file of an adapter, PEFT the folder. */
const folderOfAdapter = (path: string) => path.endsWith(".safetensors") ? dirname(path) : path;

/** Digest of the adapter that training goes on from. */
function parentsOf(path: string | undefined): readonly string[] {
  if (path === undefined) return [];
  return [adapterDigest(readAdapterFiles(adapterFolder(folderOfAdapter(path))))];
}

function adaptFurther(
  model: Model,
  path: string,
  dropout: number,
  data: TrainData,
  terminal: Terminal,
): AdaptedModel {
  const directory = folderOfAdapter(path);
  const { adapter, notes } = loadAdapter(directory);
  for (const note of notes) terminal.note(note);
  return continueAdapter(model, adapter, dropout, data.labels, directory);
}

async function checkForward(
  runner: Runner,
  model: Model,
  step: PlannedModel,
  batch: TokenBatch,
  terminal: Terminal,
): Promise<RowCut> {
  const { relativeDifference, dynamic, half, cut } = await compareForward(
    runner,
    model,
    step,
    batch,
  );
  if (cut === withoutPadding) {
    terminal.note(
      "What the model computes depends on the padding behind a text: each runs by itself, without",
    );
  }
  if (!dynamic && !half) return cut;
  const ways = dynamic
    ? "rounds activations to integers as it runs; training computes them in floats"
    : "computes in 16-bit floats; training computes in 32-bit ones";
  terminal.note(
    `The model ${ways}: the logits of a batch differ by ${formatShare(relativeDifference)}`,
  );
  return cut;
}

/** Says of layers that graft does not see that they are not adapted. */
function tellOthers(model: Model, modules: readonly LinearModule[], terminal: Terminal): void {
  const others = otherProducts(model, modules);
  if (others.length === 0) return;
  terminal.note(
    `${
      formatCount(others.length)
    } products with weights of the file are no targets: graft does not ` +
      `see through what prepares them (the first is node "${others[0].name}")`,
  );
}

/** Rows of a language model's embedding, by its logits. */
function vocabularyOf(model: Model): number | undefined {
  if (!hasLogits(model)) return undefined;
  const shape = model.graph.outputs.find(({ name }) => name === "logits")?.type?.shape;
  const last = shape?.length === 3 ? shape[2] : undefined;
  return typeof last === "number" ? last : undefined;
}
