/**
 * Virtual tokens: positions in front of every text whose values are trained and not looked up.
 *
 * `prompt_tuning` trains their embeddings (Lester et al., "The Power of Scale for Parameter-Efficient
 * Prompt Tuning", arXiv:2104.08691), `prefix_tuning` their keys and values in every layer (Li and Liang,
 * "Prefix-Tuning", arXiv:2101.00190), without the network that computes them in the paper
 * (PEFT: `prefix_projection=False`).
 *
 * A graph takes them as token ids beyond its vocabulary: the rows of the embedding are ids 0 to n - 1, the
 * virtual tokens of a text begin with id n. Everything else that treats texts (batches, packing, caches of
 * keys and values, sampling) sees a longer text.
 */

/** How virtual tokens are trained. */
export const VIRTUAL_METHODS = ["prompt_tuning", "prefix_tuning"] as const;
/** One of {@linkcode VIRTUAL_METHODS}. */
export type VirtualMethod = (typeof VIRTUAL_METHODS)[number];

/** What an adapter's configuration says of its virtual tokens, in PEFT's words. */
export interface VirtualTokensConfig {
  /** What is trained of them. */
  readonly method: VirtualMethod;
  /** Their number. */
  readonly numVirtualTokens: number;
  /** Width of an embedding; for a prefix of a layer's keys. */
  readonly tokenDim: number;
  /** For a prefix: layers. */
  readonly numLayers?: number;
  /** For a prefix: heads of the keys. */
  readonly numAttentionHeads?: number;
}

/** Columns of `prompt_embeddings`: a prefix has the keys and values of each layer beside each other. */
export const columnsOf = ({ method, tokenDim, numLayers = 0 }: VirtualTokensConfig): number =>
  method === "prompt_tuning" ? tokenDim : 2 * numLayers * tokenDim;
