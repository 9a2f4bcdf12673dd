/** Dequantises weights of a codebook inside the graph, from the bytes as the file stores them. */
import { int } from "../graph/attributes.ts";
import type { GraphBuilder } from "../graph/builder.ts";
import { type Codebook, CODEBOOKS } from "../graph/codebook.ts";
import { float32 } from "../graph/tensor.ts";
import { castTo } from "./cast.ts";
import { shared } from "./contrib/support.ts";
import { view } from "./dequantize.ts";

/** A matrix in blocks that do not end with its rows, two codes per byte. */
export interface CodebookQuantized {
  readonly codebook: Codebook;
  /** uint8, [rows · columns / 2] in any shape, the even code in the high half. */
  readonly data: string;
  /** float32, [rows · columns / blockSize] in any shape: the largest magnitude of each block. */
  readonly scales: string;
  readonly rows: number;
  readonly columns: number;
  /** Divides rows · columns. */
  readonly blockSize: number;
}

/**
 * Emits the float matrix: both values of a byte are looked up at once.
 *
 * @returns float32 [rows, columns]
 */
export function dequantizeCodebook(b: GraphBuilder, w: CodebookQuantized): string {
  const count = w.rows * w.columns;
  const blocks = count / w.blockSize;
  const pairs = shared(b, `codebook ${w.codebook}`, () => {
    const values = CODEBOOKS[w.codebook];
    const all = Array.from({ length: 256 }, (_, byte) => [values[byte >> 4], values[byte & 15]]);
    return b.constant(float32([256, 2], all.flat()), `codebook.${w.codebook}`);
  });
  const bytes = castTo(b, view(b, w.data, [count / 2]), "int32");
  const values = b.op("Gather", [pairs, bytes], { axis: int(0) });
  const scales = view(b, w.scales, [blocks, 1]);
  const scaled = b.op("Mul", [b.reshape(values, [blocks, w.blockSize]), scales]);
  return b.reshape(scaled, [w.rows, w.columns]);
}
