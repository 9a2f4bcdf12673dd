/** The embedding of token ids in a user's graph. */
import { UsageError } from "../../errors.ts";
import { intAttribute } from "../../graph/attributes.ts";
import { type DataType, isFloating } from "../../graph/dtype.ts";
import type { Model, Node } from "../../graph/types.ts";
import { type GraphIndex, indexGraph, onlyReader } from "../graph_index.ts";

/** The input of token ids. */
export const TOKEN_IDS = "input_ids";

/** The lookup of the embeddings of tokens. */
export interface TokenEmbedding {
  /** The node that looks rows up. */
  readonly lookup: Node;
  /** Its rows in floats, [batch, length, width]. */
  readonly output: string;
  readonly dtype: DataType;
  /** Rows of the table: the first id that is no token's. */
  readonly rows: number;
  readonly width: number;
}

/**
 * Finds the table that token ids are looked up in.
 *
 * @throws {UsageError} if the graph has none that virtual tokens can stand beside
 */
export function tokenEmbedding(model: Model): TokenEmbedding {
  const index = indexGraph(model.graph);
  const found = index.consumers(TOKEN_IDS).flatMap((node) => embeddingAt(index, node) ?? []);
  if (found.length === 1) return found[0];
  throw new UsageError((name) =>
    `Cannot add virtual tokens (${
      name("adapterType")
    }): the graph must look ${TOKEN_IDS} up in one ` +
    `table of embeddings: it has ${found.length} that graft knows`
  );
}

function embeddingAt(index: GraphIndex, node: Node): TokenEmbedding | undefined {
  const [table, ids] = node.inputs;
  const [output] = node.outputs;
  if (ids !== TOKEN_IDS) return undefined;
  if (node.opType === "Gather" && intAttribute(node, "axis", 0) === 0) {
    const values = index.constant(table);
    if (values?.dims.length !== 2) return undefined;
    const [rows, width] = values.dims;
    if (isFloating(values.dtype)) {
      return { lookup: node, output, dtype: values.dtype, rows, width };
    }
    const widened = onlyReader(index, output, "DequantizeLinear");
    const scale = widened && index.constant(widened.inputs[1]);
    if (widened === undefined || scale === undefined) return undefined;
    return { lookup: node, output: widened.outputs[0], dtype: scale.dtype, rows, width };
  }
  if (node.opType !== "GatherBlockQuantized") return undefined;
  const scales = index.constant(node.inputs[2]);
  const blockSize = intAttribute(node, "block_size", 128);
  if (scales?.dims.length !== 2 || intAttribute(node, "gather_axis", 0) !== 0) return undefined;
  const [rows, blocks] = scales.dims;
  return { lookup: node, output, dtype: scales.dtype, rows, width: blocks * blockSize };
}
