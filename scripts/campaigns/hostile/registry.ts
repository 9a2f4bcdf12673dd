/** The formats under attack. */
import { HOSTILE_JSONL, HOSTILE_TOKENIZER } from "../../../tests/helpers/hostile_text_formats.ts";
import type { HostileFormat } from "./format.ts";
import { ADAPTER } from "./formats/adapter.ts";
import { ONNX } from "./formats/onnx.ts";
import { SAFETENSORS } from "./formats/safetensors.ts";

export const FORMATS: readonly HostileFormat[] = [
  ONNX,
  SAFETENSORS,
  ADAPTER,
  HOSTILE_TOKENIZER,
  HOSTILE_JSONL,
];
