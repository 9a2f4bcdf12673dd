/** Which data files an ONNX model names. */
import { decodeModel } from "../onnx/mod.ts";

/**
 * Locations of a model's external data, as the model gives them.
 *
 * @param bytes of the `.onnx` file
 * @param file what messages call it
 * @throws {BadInputError} for what is no model
 */
export function externalLocations(bytes: Uint8Array, file: string): ReadonlySet<string> {
  const locations = new Set<string>();
  let zeros = new Uint8Array();
  decodeModel(bytes, {
    file,
    external({ location, length }) {
      locations.add(location);
      // Never touched, so that only addresses are taken.
      if (zeros.length < length) zeros = new Uint8Array(length);
      return zeros.subarray(0, length);
    },
  });
  return locations;
}
