/**
 * Reverse-mode differentiation of a piece of graph without control flow: graph in, graph out.
 *
 * Visits only nodes between the wanted values and the seeds, so that frozen weights, and everything that does
 * not depend on a wanted value, cost nothing.
 *
 * Source: reverse accumulation as in Griewank and Walther, *Evaluating Derivatives*, chapter 3.
 */
import type { GraphBuilder } from "../graph/builder.ts";
import { isFloating } from "../graph/dtype.ts";
import { areEqual } from "../graph/extent_arithmetic.ts";
import { type Node, operatorName } from "../graph/types.ts";
import { findRule, ruleOf } from "../ops/registry.ts";
import { UnsupportedError } from "../ops/types.ts";

/**
 * Emits the cotangents of `wrt` for given cotangents of some outputs.
 *
 * @param b builder that already holds `nodes`
 * @param nodes the piece to differentiate, in topological order
 * @param seeds cotangent value per output value, each of its output's shape
 * @param wrt values to differentiate with respect to
 * @returns cotangent per wanted value; values that the seeds do not depend on are absent
 * @throws {UnsupportedError} where an operator between `wrt` and the seeds has no derivative rule
 */
export function pullback(
  b: GraphBuilder,
  nodes: readonly Node[],
  seeds: ReadonlyMap<string, string>,
  wrt: ReadonlySet<string>,
): Map<string, string> {
  const active = dependents(b, nodes, wrt);
  const arrived = new Map<string, string[]>();
  for (const [value, cotangent] of seeds) arrived.set(value, [cotangent]);
  const total = (value: string): string | undefined => {
    const parts = arrived.get(value);
    if (parts === undefined) return undefined;
    const sum = parts.reduce((a, c) => b.op("Add", [a, c]));
    arrived.set(value, [sum]);
    return sum;
  };

  for (const node of [...nodes].reverse()) {
    const wanted = node.inputs.map((input) => active.has(input));
    if (!wanted.includes(true) || findRule(node)?.blocksGradient === true) continue;
    const cotangents = node.outputs.map((output) => output === "" ? undefined : total(output));
    if (cotangents.every((ct) => ct === undefined)) continue;
    const rule = ruleOf(node);
    if (rule.vjp === undefined) {
      throw new UnsupportedError((name) =>
        `Cannot train through node "${node.name}": operator ${operatorName(node)} has no ` +
        `derivative here; choose target modules above it with ${name("numLayers")} or ` +
        name("targetModules")
      );
    }
    const results = rule.vjp(b, node, cotangents, wanted);
    results.forEach((cotangent, i) => {
      if (cotangent === undefined || !wanted[i]) return;
      const input = node.inputs[i];
      assertSameShape(b, node, input, cotangent);
      const parts = arrived.get(input);
      if (parts === undefined) arrived.set(input, [cotangent]);
      else parts.push(cotangent);
    });
  }

  const found = new Map<string, string>();
  for (const value of wrt) {
    const cotangent = total(value);
    if (cotangent !== undefined) found.set(value, cotangent);
  }
  return found;
}

/** Floating-point values that depend on `sources`, the sources included. */
function dependents(
  b: GraphBuilder,
  nodes: readonly Node[],
  sources: ReadonlySet<string>,
): Set<string> {
  const active = new Set(sources);
  for (const node of nodes) {
    if (!node.inputs.some((input) => active.has(input))) continue;
    if (findRule(node)?.blocksGradient === true) continue;
    for (const output of node.outputs) {
      if (output !== "" && isFloating(b.known(output).dtype)) active.add(output);
    }
  }
  return active;
}

function assertSameShape(b: GraphBuilder, node: Node, value: string, cotangent: string): void {
  const expected = b.shape(value);
  const found = b.shape(cotangent);
  if (expected.length === found.length && expected.every((dim, i) => areEqual(dim, found[i]))) {
    return;
  }
  throw new RangeError(
    `The derivative of ${operatorName(node)} "${node.name}" has the wrong shape for "${value}": ` +
      `expected [${expected}]: current value is [${found}]`,
  );
}
