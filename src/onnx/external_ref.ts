/** The file range that holds the data of a tensor from a model. */
import type { Tensor } from "../graph/tensor.ts";
import { EXTERNAL } from "./schema.ts";
import { protoOfTensor } from "./sources.ts";
import type { ExternalRef } from "./tensor_data.ts";

/** Normalises a location: `./w` and `w` are the same file and must have the same name. */
function plainLocation(location: string): string {
  const parts = location.split("/");
  return parts.filter((part, i) => part !== "." && (part !== "" || i === 0)).join("/");
}

/** The range of a file beside the model that holds a decoded tensor; `undefined` if it is inside. */
export function externalRefOf(tensor: Tensor): ExternalRef | undefined {
  const proto = protoOfTensor(tensor);
  if (proto?.dataLocation !== EXTERNAL) return undefined;
  const entry = (key: string) => proto.externalData.find((e) => e.key === key)?.value;
  return {
    location: plainLocation(entry("location")!),
    offset: Number(entry("offset") ?? 0),
    length: tensor.bytes.byteLength,
  };
}
