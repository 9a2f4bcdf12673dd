/** Typed access to a node's attributes, with the defaults that operator specifications give. */
import type { Tensor } from "./tensor.ts";
import { type Attribute, type Node, operatorName } from "./types.ts";

function wrongKind(node: Node, name: string, found: Attribute, wanted: string): SyntaxError {
  return new SyntaxError(
    `Attribute "${name}" of ${
      operatorName(node)
    } "${node.name}" must be ${wanted}: current kind is ${found.kind}`,
  );
}

/** An integer attribute, or `fallback` where the node has none. */
export function intAttribute<T extends number | undefined>(
  node: Node,
  name: string,
  fallback: T,
): number | T {
  const found = node.attributes[name];
  if (found === undefined) return fallback;
  if (found.kind !== "int") throw wrongKind(node, name, found, "an integer");
  return found.value;
}

/** A float attribute, or `fallback` where the node has none. */
export function floatAttribute<T extends number | undefined>(
  node: Node,
  name: string,
  fallback: T,
): number | T {
  const found = node.attributes[name];
  if (found === undefined) return fallback;
  if (found.kind !== "float") throw wrongKind(node, name, found, "a float");
  return found.value;
}

/** A string attribute, or `fallback` where the node has none. */
export function stringAttribute<T extends string | undefined>(
  node: Node,
  name: string,
  fallback: T,
): string | T {
  const found = node.attributes[name];
  if (found === undefined) return fallback;
  if (found.kind !== "string") throw wrongKind(node, name, found, "a string");
  return found.value;
}

/** A list of integers, or `fallback` where the node has none. */
export function intsAttribute<T extends readonly number[] | undefined>(
  node: Node,
  name: string,
  fallback: T,
): readonly number[] | T {
  const found = node.attributes[name];
  if (found === undefined) return fallback;
  if (found.kind !== "ints") throw wrongKind(node, name, found, "a list of integers");
  return found.value;
}

/** A tensor attribute, `undefined` where the node has none. */
export function tensorAttribute(node: Node, name: string): Tensor | undefined {
  const found = node.attributes[name];
  if (found === undefined) return undefined;
  if (found.kind !== "tensor") throw wrongKind(node, name, found, "a tensor");
  return found.value;
}

/** Attribute values from plain ones: whole lists of integers, strings, tensors; floats by {@linkcode float}. */
export function int(value: number): Attribute {
  return { kind: "int", value };
}
export function float(value: number): Attribute {
  return { kind: "float", value };
}
export function string(value: string): Attribute {
  return { kind: "string", value };
}
export function ints(value: readonly number[]): Attribute {
  return { kind: "ints", value };
}
export function tensorValue(value: Tensor): Attribute {
  return { kind: "tensor", value };
}
