/** Reading and writing safetensors: bytes in, bytes out. */
export { decodeSafetensors, type Safetensors, type SafetensorsOptions } from "./decode.ts";
export { encodeSafetensors, safetensorsParts } from "./encode.ts";
