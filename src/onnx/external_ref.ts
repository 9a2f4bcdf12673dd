/** Where a tensor that was read from a model has its data. */
import type { Tensor } from "../graph/tensor.ts";
import { EXTERNAL } from "./schema.ts";
import { protoOfTensor } from "./sources.ts";
import type { ExternalRef } from "./tensor_data.ts";

/** The stretch of a file beside the model that holds a decoded tensor; `undefined` if it is inside. */
export function externalRefOf(tensor: Tensor): ExternalRef | undefined {
  const proto = protoOfTensor(tensor);
  if (proto?.dataLocation !== EXTERNAL) return undefined;
  const entry = (key: string) => proto.externalData.find((e) => e.key === key)?.value;
  return {
    location: entry("location")!,
    offset: Number(entry("offset") ?? 0),
    length: tensor.bytes.byteLength,
  };
}
