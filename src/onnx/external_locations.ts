/** The data files that a model names, read from its message alone. */
import { parseModel } from "./decode.ts";
import { forEachTensor } from "./every_tensor.ts";

/**
 * Locations of all external data, unchecked: of initializers, sparse tensors, attributes, subgraphs,
 * functions and training information. No tensor is created, so that claimed sizes take no memory, and
 * the caller checks the data files themselves.
 *
 * @param bytes of the `.onnx` file
 * @param file its name, for messages
 * @throws {BadInputError} for bytes that are not a model's message
 */
export function externalLocations(bytes: Uint8Array, file: string): ReadonlySet<string> {
  const locations = new Set<string>();
  forEachTensor("ModelProto", parseModel(bytes, file), ({ externalData }) => {
    for (const { key, value } of externalData) if (key === "location") locations.add(value);
  });
  return locations;
}
