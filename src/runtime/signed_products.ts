/**
 * Finds models that multiply rounded activations by int8 weights when ONNX Runtime runs them, and the
 * session options that prevent these products from saturating (`saturates.ts`).
 */
import { dirname, isAbsolute, join } from "@std/path";
import { constantsOf, constantValues } from "../graph/passes/constants.ts";
import { graphsWithin } from "../graph/nested.ts";
import { roundsByFile } from "../graph/rounded_activations.ts";
import type { Graph, Node } from "../graph/types.ts";
import { decodeModel, type ExternalRef } from "../onnx/mod.ts";
import { multipliesRounded } from "../ops/kinds.ts";
import { openMapped } from "../system/mapped_file.ts";
import { BadInputError, GraftError } from "../errors.ts";

/** Session option that multiplies by constant weights as unsigned ones: `"1"`. */
export const PRECISION = "session.x64quantprecision";

/** Session option that keeps operators between QuantizeLinear and DequantizeLinear in floats: `"1"`. */
const FLOATS = "session.disable_quant_qdq";

/**
 * Options with which no product of the graph saturates; `undefined` if none does: products are of
 * floats, or weights are unsigned.
 *
 * A model may contain such products, or ONNX Runtime's optimiser creates them from floats between
 * QuantizeLinear and DequantizeLinear, converting signed activations to unsigned ones.
 */
export function signedProductOptions(graph: Graph): Readonly<Record<string, string>> | undefined {
  const found = [...graphsWithin(graph)].map(signedWeightReaders);
  if (!found.some(({ multiplied, dequantized }) => multiplied || dequantized.length > 0)) {
    return undefined;
  }
  // Weights that are converted to unsigned ones get one zero point where the operator requires one per
  // channel (ONNX Runtime 1.30): such a session fails at run time.
  const breaks = found.some(({ lacksZeroPoint }) => lacksZeroPoint);
  return { [PRECISION]: "1", ...(breaks ? { [FLOATS]: "1" } : {}) };
}

/** The same for a file; if it cannot be read, the runtime reports why. */
export function signedProductOptionsOf(path: string): ReturnType<typeof signedProductOptions> {
  try {
    using files = new DisposableStack();
    const file = files.use(openMapped(path));
    const external = dataBeside(path, files);
    return signedProductOptions(decodeModel(file.bytes, { file: path, external }).graph);
  } catch (error) {
    if (error instanceof GraftError) return undefined;
    throw error;
  }
}

/**
 * Reads external data in a model's folder as views of mapped files, so that it takes no memory.
 *
 * @param files keeps the mapped files open
 */
function dataBeside(path: string, files: DisposableStack): (ref: ExternalRef) => Uint8Array {
  const folder = dirname(path);
  const opened = new Map<string, Uint8Array>();
  return ({ location, offset, length }) => {
    if (isAbsolute(location) || location.split(/[/\\]/).includes("..")) {
      throw new BadInputError(`"${location}" is not in the model's folder`);
    }
    let bytes = opened.get(location);
    if (bytes === undefined) {
      bytes = files.use(openMapped(join(folder, location))).bytes;
      opened.set(location, bytes);
    }
    // Shorter if the file ends before: decoding refuses it.
    return bytes.subarray(offset, offset + length);
  };
}

/** The nodes that read constant int8 matrices of a graph. */
function signedWeightReaders(graph: Graph) {
  const held = constantsOf(graph);
  const constants = constantValues(graph);
  // Zero points have the type of the weights, but are not weights.
  const weights = new Set(
    [...held].flatMap(([name, { dtype, dims }]) =>
      dtype === "int8" && dims.length > 1 ? [name] : []
    ),
  );
  for (const { opType, inputs, outputs } of graph.nodes) {
    if (!constants.has(outputs[0])) continue;
    // Operators that the optimiser rounds or moves before the first run.
    const rounds = opType === "QuantizeLinear" && held.get(inputs[2])?.dtype === "int8";
    const moves = opType !== "DequantizeLinear" && weights.has(inputs[0]);
    if (rounds || moves) weights.add(outputs[0]);
  }
  const readers = graph.nodes.filter(({ inputs }) => inputs.some((input) => weights.has(input)));
  const dequantizing = readers.filter(({ opType }) => opType === "DequantizeLinear");
  return {
    multiplied: readers.some(multipliesRounded),
    /** Readers whose floats are multiplied by rounded activations. */
    dequantized: roundsByFile(graph) ? dequantizing : [],
    lacksZeroPoint: dequantizing.some(lacksZeroPoint),
  };
}

const lacksZeroPoint = ({ inputs }: Node) => !inputs[2];
