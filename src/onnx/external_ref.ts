/** Where a tensor that was read from a model has its data. */
import type { Tensor } from "../graph/tensor.ts";
import { EXTERNAL } from "./schema.ts";
import { protoOfTensor } from "./sources.ts";
import type { ExternalRef } from "./tensor_data.ts";

/** A location without steps that lead nowhere: `./w` and `w` are one file, and must be one name. */
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
