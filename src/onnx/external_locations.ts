/** Which data files a model names, by its message alone. */
import { parseModel } from "./decode.ts";
import { forEachTensor } from "./every_tensor.ts";

/**
 * Locations of all external data, as the model gives them and none of them checked: of initializers,
 * sparse tensors, attributes, subgraphs, functions and training information. No tensor is made, so
 * that sizes that the model claims take nothing, and that what it says of its data is left to whoever
 * has that.
 *
 * @param bytes of the `.onnx` file
 * @param file what messages call it
 * @throws {BadInputError} for what is no message of a model
 */
export function externalLocations(bytes: Uint8Array, file: string): ReadonlySet<string> {
  const locations = new Set<string>();
  forEachTensor("ModelProto", parseModel(bytes, file), ({ externalData }) => {
    for (const { key, value } of externalData) if (key === "location") locations.add(value);
  });
  return locations;
}
