/** Descriptions of the flags for a model, the same in all verbs. */

export const MODEL_TEXT =
  "Folder of an ONNX model with its tokenizer, its .onnx file, or a name: that of a pulled model, or " +
  "default for the embedded model";

export const BASE_TEXT = "The base model: folder, .onnx file, name of a pulled one, or default";
