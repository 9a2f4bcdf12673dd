/** Reads a node's inputs in rules: what must be present, what must be a constant. */
import type { GraphBuilder, Known } from "../graph/builder.ts";
import { entriesOf } from "../graph/extents.ts";
import type { Extent } from "../graph/size.ts";
import { toNumbers } from "../graph/tensor.ts";
import { type Node, operatorName } from "../graph/types.ts";
import { UnsupportedError } from "./types.ts";

/** `Operator "node name"`, with which the messages of rules begin. */
export function label(node: Pick<Node, "domain" | "opType" | "name">): string {
  return `${operatorName(node)} "${node.name}"`;
}

/** What is known about an input that the operator cannot do without. */
export function required(
  node: Node,
  inputs: readonly (Known | undefined)[],
  index: number,
): Known {
  const found = inputs[index];
  if (found === undefined) {
    throw new SyntaxError(`${label(node)} needs an input number ${index}: it has none`);
  }
  return found;
}

/** What is known about all of a node's inputs, `undefined` for absent optional ones. */
export function knownInputs(b: GraphBuilder, node: Node): readonly (Known | undefined)[] {
  return node.inputs.map((name) => name === "" ? undefined : b.known(name));
}

/**
 * Integers that an input holds, `undefined` if the input is absent.
 *
 * @param what the input's name in the operator's specification, for the message
 * @throws {UnsupportedError} if the input is computed at run time
 */
export function constantInts(
  node: Node,
  inputs: readonly (Known | undefined)[],
  index: number,
  what: string,
): readonly number[] | undefined {
  const found = inputs[index];
  if (found === undefined) return undefined;
  if (found.value === undefined) {
    throw new UnsupportedError(
      `Cannot train through ${label(node)}: its input "${what}" must be a constant once batch ` +
        `size and sequence length are known, and "${node.inputs[index]}" is computed from data` +
        "; export the model without it",
    );
  }
  return Array.from(toNumbers(found.value));
}

/** Like {@linkcode constantInts}, for an input that must be there. */
export function requiredInts(
  node: Node,
  inputs: readonly (Known | undefined)[],
  index: number,
  what: string,
): readonly number[] {
  required(node, inputs, index);
  return constantInts(node, inputs, index, what)!;
}

/** The same for numbers that may follow from a batch's sizes. */
export function requiredExtents(
  node: Node,
  inputs: readonly (Known | undefined)[],
  index: number,
  what: string,
): readonly Extent[] {
  const { value } = required(node, inputs, index);
  return (value && entriesOf(value)) ?? requiredInts(node, inputs, index, what);
}

/** Throws a `RangeError` unless all given inputs have one element type; returns that type. */
export function sameType(node: Node, inputs: readonly Known[]): Known["dtype"] {
  for (const { dtype } of inputs) {
    if (dtype !== inputs[0].dtype) {
      throw new RangeError(
        `${label(node)} needs inputs of one type: current ones are ${
          inputs.map((i) => i.dtype).join(", ")
        }`,
      );
    }
  }
  return inputs[0].dtype;
}

/** An error for an attribute or input that graft does not implement, with a way around it. */
export function unsupported(node: Node, what: string): UnsupportedError {
  return new UnsupportedError(
    `Cannot train through ${label(node)}: ${what}; export the model without it`,
  );
}
