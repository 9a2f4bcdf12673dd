/** A model folder as graft's verbs use it: the graph, how it reads text, what it is called. */
import type { TextProcessor } from "../data/text.ts";
import { GuardedText } from "../data/guarded.ts";
import type { Model } from "../graph/types.ts";
import { applyAdapter, checkBase } from "../lora/apply.ts";
import { loadAdapter } from "./adapter_dir.ts";
import { fixedShape } from "../plan/inputs.ts";
import { findModelFile, homeOf } from "./find_model.ts";
import { readGenerationConfig } from "./generation_config.ts";
import { loadOnnx } from "./load_onnx.ts";
import { type ModelKind, modelKind } from "./model_kind.ts";
import { readModelLabels } from "./model_labels.ts";
import { readTextFiles } from "./tokenizer_files.ts";
import { withVirtualTokens } from "./virtual_text.ts";

/** A model and everything beside it; its weights stay mapped until it is disposed of. */
export interface OpenedModel extends Disposable {
  /** Path of the `.onnx` file. */
  readonly file: string;
  readonly folder: string;
  readonly model: Model;
  readonly text: TextProcessor;
  readonly sizeBytes: number;
  /** Tokens that end a generated text. */
  readonly endIds: ReadonlySet<number>;
  /** Longest sequence the model takes, where its files say so. */
  readonly maxLength?: number;
  readonly kind: ModelKind;
  /** Class names in the order of a classifier's logits, where they are known. */
  readonly labels?: readonly string[];
}

/**
 * Opens a model folder, or an `.onnx` file in one.
 *
 * @throws {BadInputError} for a file that is missing or not what it should be, naming it
 */
export async function openModel(path: string): Promise<OpenedModel> {
  const file = findModelFile(path);
  const folder = homeOf(file);
  const loaded = loadOnnx(file);
  let text: TextProcessor | undefined;
  try {
    text = await GuardedText.start(readTextFiles(folder));
    const generation = readGenerationConfig(folder);
    return {
      file,
      folder,
      model: loaded.model,
      text,
      sizeBytes: loaded.sizeBytes,
      endIds: new Set([
        ...generation.endIds,
        ...(text.info.eosId === undefined ? [] : [text.info.eosId]),
      ]),
      maxLength: shortest(
        generation.maxLength,
        shortest(text.info.modelMaxLength, fixedShape(loaded.model.graph).length),
      ),
      kind: modelKind(loaded.model.graph),
      labels: readModelLabels(folder),
      [Symbol.dispose]() {
        text?.[Symbol.dispose]();
        loaded[Symbol.dispose]();
      },
    };
  } catch (error) {
    text?.[Symbol.dispose]();
    loaded[Symbol.dispose]();
    throw error;
  }
}

/**
 * Opens a model with an adapter in its graph, unmerged.
 *
 * @param note told what the user should know about the adapter
 * @throws {BadInputError} for an adapter that is unsound, of another base, or does not fit
 */
export async function openAdapted(
  path: string,
  adapterPath: string,
  note: (line: string) => void,
): Promise<OpenedModel> {
  const { adapter, notes } = loadAdapter(adapterPath);
  notes.forEach(note);
  const base = await openModel(path);
  try {
    checkBase(adapter, base.model, adapterPath);
    const tokenizer = adapter.card?.tokenizerDigest;
    if (tokenizer !== undefined && tokenizer !== base.text.info.digest) {
      note(`${base.folder}/tokenizer.json is not the one that ${adapterPath} was trained with`);
    }
    const { model } = applyAdapter(base.model, adapter);
    return {
      ...base,
      model,
      text: withVirtualTokens(base.text, base.model, adapter.config.virtualTokens),
      kind: modelKind(model.graph),
      labels: adapter.card?.labels ?? base.labels,
    };
  } catch (error) {
    base[Symbol.dispose]();
    throw error;
  }
}

function shortest(...lengths: readonly (number | undefined)[]): number | undefined {
  const known = lengths.filter((length) => length !== undefined);
  return known.length === 0 ? undefined : Math.min(...known);
}
