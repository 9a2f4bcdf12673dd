/** The formats under attack. */
import type { HostileFormat } from "./format.ts";
import { ADAPTER } from "./formats/adapter.ts";
import { CHAT_TEMPLATE } from "./formats/chat_template.ts";
import { DATA } from "./formats/data.ts";
import { FLOWER } from "./formats/flower.ts";
import { ONNX } from "./formats/onnx.ts";
import { ONNX_ADAPTER } from "./formats/onnx_adapter.ts";
import { SAFETENSORS } from "./formats/safetensors.ts";
import { TOKENIZER } from "./formats/tokenizer.ts";

export const FORMATS: readonly HostileFormat[] = [
  ONNX,
  SAFETENSORS,
  ADAPTER,
  ONNX_ADAPTER,
  TOKENIZER,
  CHAT_TEMPLATE,
  DATA,
  FLOWER,
];
