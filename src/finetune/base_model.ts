/** The model that fine-tuning starts from. */
import type { Model } from "../graph/types.ts";
import { findModelFile, homeOf } from "../model/find_model.ts";
import { loadOnnx } from "../model/load_onnx.ts";
import { checkInputs } from "../plan/inputs.ts";

/** A model and where it is; disposing of it closes its files. */
export interface BaseModel extends Disposable {
  /** Folder of its tokenizer and configuration. */
  readonly folder: string;
  readonly model: Model;
  /** Bytes of the model's files. */
  readonly sizeBytes: number;
}

/**
 * Opens a model that can be trained.
 *
 * @param name a folder, a file, or the name of a pulled model or of the carried one
 * @throws {BadInputError | UsageError} if there is none, or its inputs are not those of a text model
 */
export function openBase(name: string): BaseModel {
  const file = findModelFile(name);
  const loaded = loadOnnx(file);
  try {
    checkInputs(loaded.model.graph);
  } catch (error) {
    loaded[Symbol.dispose]();
    throw error;
  }
  const { model, sizeBytes } = loaded;
  return {
    ...{ folder: homeOf(file), model, sizeBytes },
    [Symbol.dispose]: () => loaded[Symbol.dispose](),
  };
}
