/**
 * Bottleneck adapters: small networks behind a layer's output, h ← h + U·f(D·h + d) + u.
 *
 * `houlsby` has one behind the attention's output projection and one behind the feed-forward part's
 * (Houlsby et al., "Parameter-Efficient Transfer Learning for NLP", arXiv:1902.00751), `pfeiffer` only
 * the second (Pfeiffer et al., "AdapterFusion", arXiv:2005.00247), both before the residual sum. The
 * words and defaults are those of AdapterHub's library `adapters`.
 */

/** Where the adapters are. */
export const PLACEMENTS = ["houlsby", "pfeiffer"] as const;
/** One of {@linkcode PLACEMENTS}. */
export type Placement = (typeof PLACEMENTS)[number];

/** Functions between D and U, by the names of `adapters`. */
export const NON_LINEARITIES = ["relu", "gelu", "swish"] as const;
/** One of {@linkcode NON_LINEARITIES}. */
export type NonLinearity = (typeof NON_LINEARITIES)[number];

/** What an adapter's configuration says of its bottleneck adapters. */
export interface BottleneckConfig {
  /** Where they are. */
  readonly placement: Placement;
  /** Width of the layer's output over that of the bottleneck. */
  readonly reductionFactor: number;
  /** The function f. */
  readonly nonLinearity: NonLinearity;
}

/** The functions that `adapters` has in its configurations of these names. */
export const USUAL_NON_LINEARITY: Readonly<Record<Placement, NonLinearity>> = {
  houlsby: "swish",
  pfeiffer: "relu",
};

/** Width of the bottleneck behind a layer of `features` outputs, at least 1. */
export const bottleneckWidth = (
  features: number,
  { reductionFactor }: Pick<BottleneckConfig, "reductionFactor">,
): number => Math.max(1, Math.floor(features / reductionFactor));

/** Parts of an adapter, as the graph and the files name them after the layer's path. */
export const BOTTLENECK_PARTS = [
  "adapter_down.weight",
  "adapter_down.bias",
  "adapter_up.weight",
  "adapter_up.bias",
] as const;
/** One of {@linkcode BOTTLENECK_PARTS}. */
export type BottleneckPart = (typeof BOTTLENECK_PARTS)[number];
