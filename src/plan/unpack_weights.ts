/**
 * Takes packed weights apart once, before the first step, instead of in every call that reads them:
 * 4-bit codes become a byte each, and what is left in the calls is one DequantizeLinear. The numbers
 * are the same to the bit; a weight takes a byte instead of half of one.
 *
 * Codes that calls compute are made beforehand; those of a 4-bit type, whose kernel takes several
 * times as long as that for bytes, get the type of 8 bits.
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

/** Elements below which a value stays where it is computed: zero points of a few blocks. */
const LEAST_ELEMENTS = 1024;

const BYTES: ReadonlySet<DataType> = new Set(["int8", "uint8"]);
/** The types whose codes have those of a 4-bit type among them. */
const WIDER: Partial<Record<DataType, "int8" | "uint8">> = { int4: "int8", uint4: "uint8" };

/**
 * @param lowered graph of float operators
 * @param trainable initializers that change
 * @param except nodes whose results are needed as they are (those of a head that runs in chunks)
 * @param passControl of the calls that take weights apart
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
  /** The value of 8 bits that stands for one of 4. */
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

/** 4-bit codes a byte each. */
function asBytes(b: GraphBuilder, codes: string, dtype: "int8" | "uint8"): string {
  const whole = b.op("DequantizeLinear", [codes, b.scalar(1)]);
  return b.op("Cast", [whole], { to: int(ONNX_TYPE[dtype]) });
}
