/** Prints a graph as text: one line per node, with types. */
import { entriesOf, extentsOf, isSized } from "./extents.ts";
import type { Attribute, Graph, Node, ValueInfo, ValueType } from "./types.ts";
import { operatorName } from "./types.ts";
import type { Tensor } from "./tensor.ts";
import { toBigInts, toNumbers } from "./tensor.ts";

/** Longest tensor or list whose elements are printed; longer ones show only their type. */
const SHOWN_ELEMENTS = 8;

/** `float32[batch, 64]`, `float32[…]` without a known rank. */
function formatType(type: ValueType | undefined): string {
  if (type === undefined) return "?";
  const shape = type.shape && extentsOf(type.shape as readonly number[]);
  return `${type.dtype}[${shape === undefined ? "…" : shape.join(", ")}]`;
}

/** `int64[2] = {1, -1}`; the contents only of a small tensor. */
function formatTensor(tensor: Tensor): string {
  const { dtype, dims } = tensor;
  const type = formatType({ dtype, shape: dims });
  if (isSized(tensor)) {
    const entries = entriesOf(tensor);
    return entries === undefined ? type : `${type} = {${entries.join(", ")}}`;
  }
  const count = dims.reduce((product, dim) => product * dim, 1);
  if (dtype === "string" || count > SHOWN_ELEMENTS) return type;
  const { bytes } = tensor;
  const values = dtype === "int64" || dtype === "uint64"
    ? Array.from(toBigInts({ dtype, dims, bytes }), String)
    : Array.from(toNumbers({ dtype, dims, bytes }), formatNumber);
  return `${type} = {${values.join(", ")}}`;
}

const formatNumber = (value: number) =>
  Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(6)));

function formatList(values: readonly string[]): string {
  const shown = values.slice(0, SHOWN_ELEMENTS).join(", ");
  const more = values.length - SHOWN_ELEMENTS;
  return `[${shown}${more > 0 ? `, … ${more} more` : ""}]`;
}

function formatAttribute(attribute: Attribute): string {
  switch (attribute.kind) {
    case "int":
    case "float":
      return formatNumber(attribute.value);
    case "string":
      return JSON.stringify(attribute.value);
    case "ints":
    case "floats":
      return formatList(attribute.value.map(formatNumber));
    case "strings":
      return formatList(attribute.value.map((value) => JSON.stringify(value)));
    case "tensor":
      return formatTensor(attribute.value);
    case "graph":
      return `graph "${attribute.value.name}"`;
    case "other":
      return "…";
  }
}

/** `y: float32[2, 3] = Gemm(x, w, b; transB: 1)  # "node name"`. */
function formatNode(node: Node, typeOf: (name: string) => ValueType | undefined): string {
  const outputs = node.outputs.map((name) => {
    const type = typeOf(name);
    return name === "" ? "_" : type === undefined ? name : `${name}: ${formatType(type)}`;
  });
  const attributes = Object.entries(node.attributes).map(([name, attribute]) =>
    `${name}: ${formatAttribute(attribute)}`
  );
  const inputs = node.inputs.map((name) => name || "_").join(", ");
  const call = [inputs, attributes.join(", ")].filter((part) => part !== "").join("; ");
  const label = node.name === "" ? "" : `  # ${JSON.stringify(node.name)}`;
  return `${outputs.join(", ")} = ${operatorName(node)}(${call})${label}`;
}

/** The whole graph, subgraphs indented below the node they belong to. */
export function formatGraph(graph: Graph): string {
  return lines(graph).join("\n") + "\n";
}

function lines(graph: Graph): string[] {
  const types = new Map<string, ValueType | undefined>();
  for (const value of [...graph.valueInfo.values(), ...graph.inputs, ...graph.outputs]) {
    types.set(value.name, value.type);
  }
  const value = ({ name, type }: ValueInfo) => `${name}: ${formatType(type)}`;
  const out = [`graph ${JSON.stringify(graph.name)} {`];
  for (const input of graph.inputs) out.push(`  input ${value(input)}`);
  for (const [name, tensor] of graph.initializers) {
    out.push(`  initializer ${name}: ${formatTensor(tensor)}`);
  }
  for (const node of graph.nodes) {
    out.push(`  ${formatNode(node, (name) => types.get(name))}`);
    for (const [name, attribute] of Object.entries(node.attributes)) {
      if (attribute.kind !== "graph") continue;
      const [first, ...rest] = lines(attribute.value);
      out.push(`    ${name}: ${first}`, ...rest.map((line) => `    ${line}`));
    }
  }
  for (const output of graph.outputs) out.push(`  output ${value(output)}`);
  out.push("}");
  return out;
}
