/** What the rules of fused operators share: named inputs, refusals, values made once per graph. */
import type { GraphBuilder, Known } from "../../graph/builder.ts";
import { type Attribute, type Node, operatorName } from "../../graph/types.ts";
import { type OpRule, UnsupportedError } from "../types.ts";

/** Throws an `UnsupportedError` that names the node, the operator and what is not supported. */
export function refuse(node: Node, what: string): never {
  throw new UnsupportedError(
    `Cannot train through node "${node.name}": graft does not implement ${what} of ${
      operatorName(node)
    }; export the model without it`,
  );
}

/** An attribute's value, for messages. */
export function shown(attribute: Attribute): string {
  switch (attribute.kind) {
    case "int":
    case "float":
    case "string":
      return String(attribute.value);
    case "ints":
    case "floats":
    case "strings":
      return `[${attribute.value}]`;
    default:
      return `a ${attribute.kind}`;
  }
}

/** Refuses an attribute that has another value than the one that graft implements. */
export function requireAttribute(node: Node, name: string, implemented: number | string): void {
  const found = node.attributes[name];
  if (found !== undefined && found.value !== implemented) {
    refuse(node, `attribute "${name}" = ${shown(found)}`);
  }
}

/**
 * A node's inputs by their names in the operator's schema; absent ones are `undefined`.
 *
 * @param names schema names in order; one that begins with `!` is refused if it is present
 */
export function namedInputs<N extends string>(
  node: Node,
  names: readonly N[],
): Readonly<Partial<Record<N, string>>> {
  const found: Partial<Record<N, string>> = {};
  node.inputs.forEach((value, i) => {
    if (value === "") return;
    const name = names[i];
    if (name === undefined) refuse(node, `input number ${i}`);
    if (name.startsWith("!")) refuse(node, `input "${name.slice(1)}"`);
    found[name] = value;
  });
  return found;
}

/** An input that the operator's schema requires: its name, or what is known about it. */
export function required<T extends string | Known>(
  node: Node,
  name: string,
  input: T | undefined,
): T {
  if (input === undefined) {
    throw new SyntaxError(
      `Input "${name}" of ${operatorName(node)} "${node.name}" is required: current value is none`,
    );
  }
  return input;
}

/** What is known about an input that the operator's schema requires, for shape inference. */
export function requiredKnown(
  node: Node,
  name: string,
  inputs: readonly (Known | undefined)[],
  index: number,
): Known {
  return required(node, name, inputs[index]);
}

/** Shape inference of operators whose one output is like their first input, named as in the schema. */
export function inferLike(name: string): OpRule["infer"] {
  return (node, inputs) => {
    const { dtype, dims } = requiredKnown(node, name, inputs, 0);
    return [{ dtype, dims }];
  };
}

/** Refuses outputs that are needed but that graft does not compute. */
export function refuseOutputs(
  node: Node,
  needed: readonly boolean[],
  outputs: Readonly<Record<number, string>>,
): void {
  for (const [index, name] of Object.entries(outputs)) {
    if (needed[Number(index)]) refuse(node, `output "${name}"`);
  }
}

const SHARED = new WeakMap<GraphBuilder, Map<string, string>>();

/**
 * A value that all nodes of a graph share: masks, rotary tables, views of weights.
 *
 * @param key says what the value is; the first caller's `make` emits it, later callers get its name
 */
export function shared(b: GraphBuilder, key: string, make: () => string): string {
  let values = SHARED.get(b);
  if (values === undefined) SHARED.set(b, values = new Map());
  let value = values.get(key);
  if (value === undefined) values.set(key, value = make());
  return value;
}
