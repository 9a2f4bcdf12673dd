/** Typed access to a node's attributes, with the defaults that operator specifications give. */
import { BadInputError } from "../errors.ts";
import type { Tensor } from "./tensor.ts";
import { type Attribute, type Node, operatorName } from "./types.ts";

/** Value type of each attribute kind that operators read. */
interface Values {
  readonly int: number;
  readonly float: number;
  readonly string: string;
  readonly ints: readonly number[];
  readonly floats: readonly number[];
  readonly strings: readonly string[];
  readonly tensor: Tensor;
}
type Kind = keyof Values;

const KIND_NAMES: Readonly<Record<Kind, string>> = {
  int: "an integer",
  float: "a float",
  string: "a string",
  ints: "a list of integers",
  floats: "a list of floats",
  strings: "a list of strings",
  tensor: "a tensor",
};

/** An attribute's value, `undefined` if the node has none; throws if it is of another kind. */
function valueOf<K extends Kind>(node: Node, name: string, kind: K): Values[K] | undefined {
  const found = node.attributes[name];
  if (found === undefined) return undefined;
  if (found.kind === kind) return found.value as Values[K];
  throw new BadInputError(
    `Attribute "${name}" of ${operatorName(node)} "${node.name}" must be ${KIND_NAMES[kind]}: ` +
      `current kind is ${found.kind}`,
  );
}

/**
 * An integer attribute, or `fallback` if the node has none; this and the functions below throw a
 * `BadInputError` for an attribute of another kind.
 */
export function intAttribute<T extends number | undefined>(
  node: Node,
  name: string,
  fallback: T,
): number | T {
  return valueOf(node, name, "int") ?? fallback;
}

/** A float attribute, or `fallback` if the node has none. */
export function floatAttribute<T extends number | undefined>(
  node: Node,
  name: string,
  fallback: T,
): number | T {
  return valueOf(node, name, "float") ?? fallback;
}

/** A string attribute, or `fallback` if the node has none. */
export function stringAttribute<T extends string | undefined>(
  node: Node,
  name: string,
  fallback: T,
): string | T {
  return valueOf(node, name, "string") ?? fallback;
}

/** A list of integers, or `fallback` if the node has none. */
export function intsAttribute<T extends readonly number[] | undefined>(
  node: Node,
  name: string,
  fallback: T,
): readonly number[] | T {
  return valueOf(node, name, "ints") ?? fallback;
}

/** A list of floats, or `fallback` if the node has none. */
export function floatsAttribute<T extends readonly number[] | undefined>(
  node: Node,
  name: string,
  fallback: T,
): readonly number[] | T {
  return valueOf(node, name, "floats") ?? fallback;
}

/** A list of strings, or `fallback` if the node has none. */
export function stringsAttribute<T extends readonly string[] | undefined>(
  node: Node,
  name: string,
  fallback: T,
): readonly string[] | T {
  return valueOf(node, name, "strings") ?? fallback;
}

/** A tensor attribute, `undefined` if the node has none. */
export function tensorAttribute(node: Node, name: string): Tensor | undefined {
  return valueOf(node, name, "tensor");
}

/**
 * Attributes from plain values: integers, lists of integers, strings, tensors; for floats use {@linkcode
 * float}.
 */
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
export function floats(value: readonly number[]): Attribute {
  return { kind: "floats", value };
}
export function strings(value: readonly string[]): Attribute {
  return { kind: "strings", value };
}
