/** Writes docs/operators.md, the table of supported operators, from the registry. */
import { formatOperatorTable } from "../src/ops/table.ts";

const HEAD = `# Supported operators

Generated from the registry by \`deno run --allow-write=docs scripts/operators.ts\`; do not edit.

Models may use operator sets 7 and later. Training happens in a graph of ONNX's operator set 21, to
which the user's graph is lowered once batch size and sequence length are known; what runs at
inference stays the user's graph. \`QLinearMatMul\`, \`QLinearConv\`, \`QGemm\` and the other operators on
quantised activations are read as \`DequantizeLinear\`, the operator on floats and \`QuantizeLinear\`
(\`src/graph/passes/qoperators_to_qdq.ts\`).

- **differentiated**: gradients pass by a rule of the operator's own.
- **lowered**: rewritten for training into operators that have one.
- **values only**: shapes, positions, masks, indices. No gradient passes; contents that depend on
  shapes alone are computed when the graph is built.

Any attribute or optional input that is not implemented is refused by name, never ignored.

`;

/** The file's content. */
export function operatorsPage(): string {
  return `${HEAD}${formatOperatorTable()}\n`;
}

if (import.meta.main) {
  const path = new URL("../docs/operators.md", import.meta.url);
  await Deno.writeTextFile(path, operatorsPage());
  console.log("docs/operators.md is written");
}
