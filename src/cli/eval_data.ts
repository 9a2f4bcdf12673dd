/** The data of an evaluation: the part of a data set held out the most, as batches. */
import { type Batches, Dataset, type LabelMap, sortLabels, type Task } from "../data/mod.ts";
import { findData } from "../data/io/data_folder.ts";
import { FileSource } from "../data/io/file_source.ts";
import { UsageError } from "../errors.ts";
import { classCount } from "../model/model_kind.ts";
import { withCarried, withCarriedNames } from "../model/carried_model.ts";
import type { OpenedModel } from "../model/open_model.ts";
import { columnsOf } from "../data/data_config.ts";
import { encodeBatches } from "../data/encode_batches.ts";
import { textInputsOf } from "../model/text_inputs.ts";
import type { DataFlags } from "./data_flags.ts";
import { noteEncoded } from "./encoded_note.ts";
import type { Terminal } from "./output.ts";

export interface EvalData extends Disposable {
  /** The file that is evaluated on. */
  readonly path: string;
  readonly task: Task;
  readonly batches: Batches;
}

/** The test part of a data set, else the validation part, else what there is. */
function heldOutPath(data: string): string {
  const { test, valid, train } = findData(data);
  // A data set that is found has at least one part.
  return (test ?? valid ?? train)!;
}

/**
 * Loads what `--data` names for a model.
 *
 * @throws {BadInputError} naming file and line, for data that cannot be used
 * @throws {UsageError} where the model gives no scores, or classes cannot be told
 */
export async function loadEvalData(
  opened: OpenedModel,
  flags: DataFlags & { readonly data: string; readonly batchSize: number },
  terminal: Terminal,
): Promise<EvalData> {
  using resources = new DisposableStack();
  const { graph } = opened.model;
  if (opened.kind === "encoder") {
    throw new UsageError(
      `Cannot evaluate ${opened.file}: it gives no scores of tokens or classes; an adapter with a ` +
        "classification head (--adapter-path) does",
    );
  }
  const path = heldOutPath(withCarried(flags.data));
  const task = opened.kind === "causal" ? "causal" : "classification";
  const source = resources.use(FileSource.open(path));
  const dataset = await Dataset.open(source, { columns: columnsOf(flags), task });
  const classes = classCount(graph);
  const batches = await encodeBatches(dataset, {
    order: "by-length",
    model: {
      text: opened.text,
      ...textInputsOf(graph),
      vocabSize: task === "causal" ? classes : undefined,
    },
    config: { ...flags, seed: 0 },
    labels: task === "causal"
      ? undefined
      : opened.labels ?? evalLabels(dataset.labels, classes, path),
    onEncoded: (report) => noteEncoded(withCarriedNames(path), report, task !== "causal", terminal),
    resources,
  });
  const kept = resources.move();
  return { path, task, batches, [Symbol.dispose]: () => kept.dispose() };
}

/**
 * Class names in the order of a model's scores, where its files name none: numbers count as ids;
 * other names are taken in order when there is one for each class.
 *
 * @param classes scores of the model, where its graph states the number
 * @throws {UsageError} where the names do not tell the order
 */
export function evalLabels(
  found: ReadonlySet<string>,
  classes: number | undefined,
  source: string,
): LabelMap {
  const sorted = sortLabels(found);
  const count = classes ?? sorted.length;
  const isId = (name: string) => /^(0|[1-9]\d*)$/.test(name) && Number(name) < count;
  if (sorted.every(isId)) return Array.from({ length: count }, (_, id) => String(id));
  if (sorted.length === count) return sorted;
  throw new UsageError(
    `Cannot tell which scores belong to the classes of ${source}: the model has ${count} and names ` +
      `none, the data has ${sorted.length}: put "id2label" into the model's config.json`,
  );
}
