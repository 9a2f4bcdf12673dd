/** The data of an evaluation, in batches: a data set's test part, or else what it has. */
import {
  type Batches,
  Dataset,
  type LabelMap,
  type PrepareReport,
  sortLabels,
  type Task,
} from "../data/mod.ts";
import { findData } from "../data/io/data_folder.ts";
import { FileSource } from "../data/io/file_source.ts";
import { UsageError } from "../errors.ts";
import { classCount } from "../model/model_kind.ts";
import { withCarried } from "../model/carried_model.ts";
import type { OpenedModel } from "../model/open_model.ts";
import { columnsOf, type DataConfig } from "../data/data_config.ts";
import { encodeBatches } from "../data/encode_batches.ts";
import { textInputsOf } from "../model/text_inputs.ts";

/** Batches to evaluate on, and what stays open to read them. */
export interface EvaluationData extends Disposable {
  /** The file with the evaluated data. */
  readonly path: string;
  readonly task: Task;
  readonly batches: Batches;
}

/** The test part of a data set, else the validation part, else the training part. */
function heldOutPath(data: string): string {
  const { test, valid, train } = findData(data);
  // A data set that is found has at least one part.
  return (test ?? valid ?? train)!;
}

/**
 * Loads what `data` names for a model.
 *
 * @param onEncoded called with the file, what was encoded of it, and whether its rows have classes
 * @throws {BadInputError} naming file and line, for data that cannot be used
 * @throws {UsageError} if the model gives no scores, or the order of its classes is unknown
 */
export async function loadEvaluationData(
  opened: OpenedModel,
  config: DataConfig & { readonly data: string; readonly batchSize: number },
  onEncoded: (path: string, report: PrepareReport, classes: boolean) => void = () => {},
): Promise<EvaluationData> {
  using resources = new DisposableStack();
  const { graph } = opened.model;
  if (opened.kind === "encoder") {
    throw new UsageError(
      (name) =>
        `Cannot evaluate ${opened.file}: it gives no scores of tokens or classes; an adapter with a ` +
        `classification head (${name("adapterPath")}) does`,
    );
  }
  const path = heldOutPath(withCarried(config.data));
  const task = opened.kind === "causal" ? "causal" : "classification";
  const source = resources.use(FileSource.open(path));
  const dataset = await Dataset.open(source, { columns: columnsOf(config), task });
  const classes = classCount(graph);
  const batches = await encodeBatches(dataset, {
    order: "by-length",
    model: {
      text: opened.text,
      ...textInputsOf(graph),
      vocabSize: task === "causal" ? classes : undefined,
    },
    config: { ...config, seed: 0 },
    labels: task === "causal"
      ? undefined
      : opened.labels ?? evaluationLabels(dataset.labels, classes, path),
    onEncoded: (report) => onEncoded(path, report, task !== "causal"),
    resources,
  });
  const kept = resources.move();
  return { path, task, batches, [Symbol.dispose]: () => kept.dispose() };
}

/**
 * Class names in the order of a model's scores, if its files name none: numbers count as ids; other names are
 * taken in order if there is one for each class.
 *
 * @param classes number of the model's scores, if its graph states it
 * @throws {UsageError} if the names do not tell the order
 */
export function evaluationLabels(
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
