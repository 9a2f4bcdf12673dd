/**
 * Einsum, lowered to Transpose, Reshape, MatMul and ReduceSum.
 *
 * Operands are joined from the left. Of two operands, labels in both that are needed later form a stack of
 * matrices, labels in both that are not needed later are summed (the inner dimension), and the rest are rows
 * and columns.
 */
import { ints, stringAttribute } from "../graph/attributes.ts";
import type { GraphBuilder, Known } from "../graph/builder.ts";
import { asDims, extentsOf } from "../graph/extents.ts";
import { areEqual, productOf } from "../graph/extent_arithmetic.ts";
import type { Extent } from "../graph/size.ts";
import type { Node } from "../graph/types.ts";
import { label, required, sameType, unsupported } from "./args.ts";
import { sum } from "./broadcast.ts";
import type { OpRule } from "./types.ts";

interface Equation {
  readonly terms: readonly (readonly string[])[];
  readonly output: readonly string[];
}

/** Labels of each operand; an ellipsis becomes labels "0", "1", … counted from its right end. */
function parseEquation(node: Node, ranks: readonly number[]): Equation {
  const text = stringAttribute(node, "equation", "").replaceAll(" ", "");
  const [left, right] = text.split("->");
  const written = left.split(",");
  if (written.length !== ranks.length) {
    throw new SyntaxError(
      `${
        label(node)
      }: equation "${text}" is for ${written.length} operands: it has ${ranks.length}`,
    );
  }
  const letters = (term: string) => [...term.replace("...", "")];
  const hidden = written.map((term, i) => ranks[i] - letters(term).length);
  const widest = Math.max(0, ...written.map((term, i) => term.includes("...") ? hidden[i] : 0));
  const expand = (term: string, count: number): string[] => {
    const labels = Array.from({ length: count }, (_, i) => String(count - 1 - i));
    const [before, after] = term.split("...");
    return after === undefined ? [...before] : [...before, ...labels, ...after];
  };
  const terms = written.map((term, i) => expand(term, hidden[i]));
  terms.forEach((term, i) => {
    if (new Set(term).size !== term.length) {
      throw unsupported(node, `equation "${text}" repeats a label within an operand`);
    }
    if (term.length !== ranks[i]) {
      throw new RangeError(
        `${label(node)}: equation "${text}" does not fit operand ${i} of rank ${ranks[i]}`,
      );
    }
  });
  if (right !== undefined) return { terms, output: expand(right, widest) };
  // Without an arrow: the ellipsis, then the labels that occur once, in alphabetical order.
  const all = written.flatMap(letters);
  const once = all.filter((name) => all.indexOf(name) === all.lastIndexOf(name)).sort();
  return { terms, output: expand(`...${once.join("")}`, widest) };
}

function sizesOf(node: Node, terms: Equation["terms"], shapes: readonly (readonly Extent[])[]) {
  const sizes = new Map<string, Extent>();
  terms.forEach((term, i) =>
    term.forEach((name, axis) => {
      const dim = shapes[i][axis];
      const known = sizes.get(name);
      if (known !== undefined && known !== 1 && dim !== 1 && !areEqual(known, dim)) {
        throw new RangeError(`${label(node)}: label "${name}" is both ${known} and ${dim}`);
      }
      if (known === undefined || known === 1) sizes.set(name, dim);
    })
  );
  return sizes;
}

/** A value with labelled axes. */
interface Labelled {
  readonly value: string;
  readonly labels: readonly string[];
}

/** Sums the labels that `keep` lacks, and puts the rest in the order of `order`. */
function arrange(b: GraphBuilder, { value, labels }: Labelled, order: readonly string[]): string {
  const extra = labels.flatMap((name, axis) => order.includes(name) ? [] : [axis]);
  const kept = labels.filter((name) => order.includes(name));
  const dims = b.shape(value).filter((_, axis) => !extra.includes(axis));
  const summed = extra.length === 0 ? value : b.reshape(sum(b, value, extra), dims);
  const perm = order.map((name) => kept.indexOf(name));
  if (perm.every((axis, i) => axis === i)) return summed;
  return b.op("Transpose", [summed], { perm: ints(perm) });
}

function join(b: GraphBuilder, x: Labelled, y: Labelled, later: ReadonlySet<string>): Labelled {
  const shared = x.labels.filter((name) => y.labels.includes(name));
  const stack = shared.filter((name) => later.has(name));
  const inner = shared.filter((name) => !later.has(name));
  const rows = x.labels.filter((name) => !shared.includes(name) && later.has(name));
  const columns = y.labels.filter((name) => !shared.includes(name) && later.has(name));
  const left = arrange(b, x, [...stack, ...rows, ...inner]);
  const right = arrange(b, y, [...stack, ...inner, ...columns]);
  const [leftDims, rightDims] = [b.shape(left), b.shape(right)];
  const [s, r, i] = [stack.length, rows.length, inner.length];
  const k = productOf(leftDims.slice(s + r));
  const lefts = b.reshape(left, [...leftDims.slice(0, s), productOf(leftDims.slice(s, s + r)), k]);
  const rights = b.reshape(right, [...rightDims.slice(0, s), k, productOf(rightDims.slice(s + i))]);
  const out = b.op("MatMul", [lefts, rights]);
  const dims = [
    ...b.shape(out).slice(0, s),
    ...leftDims.slice(s, s + r),
    ...rightDims.slice(s + i),
  ];
  return { value: b.reshape(out, dims), labels: [...stack, ...rows, ...columns] };
}

function read(node: Node, inputs: readonly (Known | undefined)[]) {
  const all = inputs.map((_, i) => required(node, inputs, i));
  const shapes = all.map(({ dims }) => extentsOf(dims));
  const equation = parseEquation(node, shapes.map((dims) => dims.length));
  return { all, shapes, equation, sizes: sizesOf(node, equation.terms, shapes) };
}

export const Einsum: OpRule = {
  opType: "Einsum",
  domain: "",
  since: 12,
  attributes: ["equation"],
  inputs: "1..",
  outputs: "1",
  remark: "without repeated labels in an operand",
  traits: { kind: "other", rows: "mixed" },
  infer(node, inputs) {
    const { all, equation, sizes } = read(node, inputs);
    const dims = equation.output.map((name) => {
      const size = sizes.get(name);
      if (size === undefined) throw new SyntaxError(`${label(node)}: no operand has "${name}"`);
      return size;
    });
    return [{ dtype: sameType(node, all), dims: asDims(dims) }];
  },
  lower(b, node) {
    const { shapes, equation, sizes } = read(node, node.inputs.map((name) => b.known(name)));
    equation.terms.forEach((term, i) =>
      term.forEach((name, axis) => {
        if (!areEqual(shapes[i][axis], sizes.get(name)!)) {
          throw unsupported(node, `label "${name}" is broadcast from 1`);
        }
      })
    );
    let joined: Labelled = { value: node.inputs[0], labels: equation.terms[0] };
    for (let i = 1; i < node.inputs.length; i++) {
      const later = new Set([...equation.output, ...equation.terms.slice(i + 1).flat()]);
      joined = join(b, joined, { value: node.inputs[i], labels: equation.terms[i] }, later);
    }
    return [arrange(b, joined, equation.output)];
  },
};
