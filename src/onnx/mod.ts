/** Reading and writing ONNX: bytes in, bytes out. */
export { decodeModel, type DecodeOptions } from "./decode.ts";
export { encodeModel, encodeModelChunks, type EncodeOptions } from "./encode.ts";
export {
  type EncodedWithData,
  encodeModelWithExternalData,
  type ExternalChoice,
  type ExternalLayout,
} from "./external.ts";
export { externalLocations } from "./external_locations.ts";
export { externalRefOf } from "./external_ref.ts";
export { decodeStrings } from "./string_tensor.ts";
export type { ExternalRef } from "./tensor_data.ts";
