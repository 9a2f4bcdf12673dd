/**
 * Types of a graph for graft's passes: plain data, names as edges, ONNX's spelling.
 *
 * A graph read from a file keeps data that graft does not interpret in `rest` fields (opaque outside
 * `src/onnx`), so that encoding the graph again loses nothing. Nodes and attributes are immutable: a pass
 * replaces them. Passes return new graphs; they never change their argument.
 */
import type { DataType } from "./dtype.ts";
import type { Tensor } from "./tensor.ts";

/** A dimension: a size, or the name of one that is only known at run time. */
export type Dim = number | string;

/** Element type and shape of a value. `shape` is absent if not even the rank is known. */
export interface ValueType {
  /** Element type. */
  readonly dtype: DataType;
  /** Dimensions, where the rank is known. */
  readonly shape?: readonly Dim[];
}

/** A graph input or output, or an annotated inner value. */
export interface ValueInfo {
  /** Name of the value. */
  readonly name: string;
  /** Absent for sequences, maps and optionals, which graft passes through untouched. */
  readonly type?: ValueType;
  /** Fields of the file that graft does not read, kept for writing. */
  readonly rest?: unknown;
}

/** An attribute of a node. `other` covers kinds that graft passes through untouched. */
export type Attribute =
  & (
    | { readonly kind: "int"; readonly value: number }
    | { readonly kind: "float"; readonly value: number }
    | { readonly kind: "string"; readonly value: string }
    | { readonly kind: "tensor"; readonly value: Tensor }
    | { readonly kind: "ints"; readonly value: readonly number[] }
    | { readonly kind: "floats"; readonly value: readonly number[] }
    | { readonly kind: "strings"; readonly value: readonly string[] }
    | { readonly kind: "graph"; readonly value: Graph }
    | { readonly kind: "other"; readonly value?: undefined }
  )
  & { readonly rest?: unknown };

/** One operator application. An empty string in `inputs` or `outputs` stands for an absent optional one. */
export interface Node {
  /** Name of the node; may be empty. */
  readonly name: string;
  /** Operator, as ONNX spells it. */
  readonly opType: string;
  /** `""` is the ONNX domain (never `"ai.onnx"`). */
  readonly domain: string;
  /** Names of the values it reads; empty where an optional one is absent. */
  readonly inputs: readonly string[];
  /** Names of the values it makes; empty for outputs that nothing reads. */
  readonly outputs: readonly string[];
  /** Attributes by name. */
  readonly attributes: Readonly<Record<string, Attribute>>;
  /** The node's `metadata_props`, if any (PyTorch's exporter writes module scopes there). */
  readonly metadata?: Readonly<Record<string, string>>;
  /** Fields of the file that graft does not read, kept for writing. */
  readonly rest?: unknown;
}

/** A directed acyclic graph in topological order. */
export interface Graph {
  /** Name of the graph. */
  readonly name: string;
  /** Values that are fed. */
  readonly inputs: readonly ValueInfo[];
  /** Values that are fetched. */
  readonly outputs: readonly ValueInfo[];
  /** Constant tensors by name. */
  readonly initializers: ReadonlyMap<string, Tensor>;
  /** Nodes, each after those that it reads from. */
  readonly nodes: readonly Node[];
  /** Annotations of inner values, if the file has them. */
  readonly valueInfo: ReadonlyMap<string, ValueInfo>;
  /** Fields of the file that graft does not read, kept for writing. */
  readonly rest?: unknown;
}

/** Operator-set version per domain, `""` for ONNX's own. */
export type Opsets = Readonly<Record<string, number>>;

/** A model: a graph with its operator sets and other data of the file. */
export interface Model {
  /** Version of the file format. */
  readonly irVersion: number;
  /** Opset by domain; the empty domain is ONNX's own. */
  readonly opsets: Opsets;
  /** What is computed. */
  readonly graph: Graph;
  /** Properties by key. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Fields of the file that graft does not read, kept for writing. */
  readonly rest?: unknown;
}

/** The operator's name as messages print it: `MatMul`, `com.microsoft.MatMulNBits`. */
export function operatorName(node: Pick<Node, "domain" | "opType">): string {
  return node.domain === "" ? node.opType : `${node.domain}.${node.opType}`;
}

/** The domain of ONNX Runtime's own operators. */
export const MICROSOFT = "com.microsoft";

/** The domain of operators that only graft's own graphs hold; ONNX Runtime never sees them. */
export const GRAFT = "graft";
