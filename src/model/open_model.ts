/** A model folder as graft's verbs use it: the graph, how it reads text, what it is called. */
import { dirname } from "@std/path";
import type { TextProcessor } from "../data/text.ts";
import { GuardedText } from "../data/guarded.ts";
import type { Model } from "../graph/types.ts";
import { isCache } from "../plan/inputs.ts";
import { findModelFile } from "./find_model.ts";
import { type LoadedModel, loadOnnx } from "./load_onnx.ts";
import { readGenerationConfig } from "./generation_config.ts";
import { readTextFiles } from "./tokenizer_files.ts";

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
  /** Whether the graph predicts tokens: it has a cache, or logits per token. */
  readonly causal: boolean;
}

/**
 * Opens a model folder, or an `.onnx` file in one.
 *
 * @throws {BadInputError} for a file that is missing or not what it should be, naming it
 */
export async function openModel(path: string): Promise<OpenedModel> {
  const file = findModelFile(path);
  const folder = dirname(file);
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
      maxLength: shortest(generation.maxLength, text.info.modelMaxLength),
      causal: isCausal(loaded),
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

function isCausal({ model: { graph } }: LoadedModel): boolean {
  const logits = graph.outputs.find(({ name }) => name === "logits");
  return logits !== undefined &&
    (logits.type?.shape?.length === 3 || graph.inputs.some(({ name }) => isCache(name)));
}

function shortest(...lengths: readonly (number | undefined)[]): number | undefined {
  const known = lengths.filter((length) => length !== undefined);
  return known.length === 0 ? undefined : Math.min(...known);
}
