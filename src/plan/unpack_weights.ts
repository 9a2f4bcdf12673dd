/**
 * Unpacks packed weights once, before the first step, instead of in every call that reads them: each 4-bit
 * code becomes a byte, and only one DequantizeLinear is left in the calls. The results are the same to the
 * bit; a weight takes a byte instead of half of one.
 *
 * Codes that calls would compute are computed beforehand. Codes of a 4-bit type become 8-bit codes, because
 * the kernel for 4 bits takes several times as long.
 */
import { int } from "../graph/attributes.ts";
import type { GraphBuilder } from "../graph/builder.ts";
import { type DataType, ONNX_TYPE } from "../graph/dtype.ts";
import { typeIn } from "../graph/facts.ts";
import { prune } from "../graph/passes/prune.ts";
import { elementCount } from "../graph/tensor.ts";
import type { Graph, Node, ValueInfo } from "../graph/types.ts";
import type { PassControl } from "./planning_pass.ts";
import { type PreprocessedGraph, WeightPreprocessing } from "./weight_preprocessing.ts";

/** Values with fewer elements are computed where they are read: zero points of a few blocks. */
const LEAST_ELEMENTS = 1024;

const BYTES: ReadonlySet<DataType> = new Set(["int8", "uint8"]);
/** The 8-bit types that contain the codes of each 4-bit type. */
const WIDER: Partial<Record<DataType, "int8" | "uint8">> = { int4: "int8", uint4: "uint8" };

/**
 * @param lowered graph of float operators
 * @param trainable initializers that training changes
 * @param except nodes whose results must not change (those of a head that runs in chunks)
 * @param passControl of the calls that unpack weights
 */
export function unpackWeights(
  lowered: Graph,
  trainable: ReadonlySet<string>,
  except: ReadonlySet<Node> = new Set(),
  passControl?: PassControl,
): PreprocessedGraph {
  const preprocessing = new WeightPreprocessing(lowered, trainable, passControl);
  const { frozen, producers } = preprocessing;
  const values = new Map<string, ValueInfo>();
  /** The 8-bit value that replaces one of 4 bits. */
  const widened = (value: string): string => {
    const { dtype, dims } = typeIn(lowered, value)!;
    const wide = WIDER[dtype];
    if (wide === undefined) return value;
    const name = `${value}.${wide}`;
    if (!preprocessing.has(value)) {
      const about = { label: `codes ${value}`, names: [name] };
      preprocessing.add(value, about, (b, codes) => [asBytes(b, codes, wide)]);
    }
    values.set(name, { name, type: { dtype: wide, shape: dims } });
    return name;
  };
  const nodes = lowered.nodes.map((node) => {
    if (node.opType !== "DequantizeLinear" || except.has(node)) return node;
    const [codes, scales, ...zeroPoint] = node.inputs;
    const { dtype, dims } = typeIn(lowered, codes)!;
    if (!frozen.has(codes) || elementCount(dims) < LEAST_ELEMENTS) return node;
    if (WIDER[dtype] !== undefined) {
      if (!zeroPoint.every((name) => name === "" || frozen.has(name))) return node;
      const points = zeroPoint.map((name) => name && widened(name));
      return { ...node, inputs: [widened(codes), scales, ...points] };
    }
    if (producers.has(codes) && !preprocessing.has(codes) && BYTES.has(dtype)) {
      preprocessing.add(codes, { label: `codes ${codes}`, names: [codes] }, (_, value) => [value]);
    }
    return node;
  });
  const preprocessed = new Set(preprocessing.calls.flatMap(({ fetches }) => [...fetches.values()]));
  if (preprocessed.size === 0) return { graph: lowered, preprocessing: [], preprocessed };
  const unpacked = prune({
    ...lowered,
    nodes: nodes.filter(({ outputs }) => !outputs.some((name) => preprocessed.has(name))),
    valueInfo: new Map([...lowered.valueInfo, ...values]),
  });
  return { graph: unpacked, preprocessing: preprocessing.calls, preprocessed };
}

/** Converts 4-bit codes to a byte each. */
function asBytes(b: GraphBuilder, codes: string, dtype: "int8" | "uint8"): string {
  const whole = b.op("DequantizeLinear", [codes, b.scalar(1)]);
  return b.op("Cast", [whole], { to: int(ONNX_TYPE[dtype]) });
}
