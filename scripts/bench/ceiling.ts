/**
 * The most tokens a second that a training step could reach if it did nothing but its matrix
 * products, at the speed that the kernels were measured to have.
 *
 * FLOPs a token (BENCHMARKS.md): 2·N + 2·H·f forward, 2·N·k/L + 2·H·f back, attention, and
 * 6·Σr(in + out) for the adapters; N parameters of the linear layers, H of the head, f the share of
 * target tokens, k/L the share of layers above the first adapter.
 */

/** Linear layers of one shape. */
export interface Layers {
  readonly rows: number;
  readonly columns: number;
  readonly count: number;
  readonly head: boolean;
}

/** A kernel's speed on a shape. */
export interface KernelRate {
  readonly rows: number;
  readonly columns: number;
  readonly gflops: number;
}

export interface StepShape {
  readonly layers: readonly Layers[];
  /** Width of the queries, and blocks that attend. */
  readonly attentionWidth: number;
  readonly blocks: number;
  /** Mean tokens of a row. */
  readonly length: number;
  /** Share of tokens whose prediction counts. */
  readonly targetShare: number;
  /** Share of the blocks that gradients pass. */
  readonly backwardShare: number;
  /** Σ r·(in + out) over the adapters. */
  readonly adapterParameters: number;
}

/**
 * @param rates of the kernel that the linear layers use; a shape without one gets their mean
 * @param floatGflops of float products, which attention and adapters use in any setting
 * @returns tokens a second
 */
export function trainingCeiling(
  step: StepShape,
  rates: readonly KernelRate[],
  floatGflops: number,
): number {
  const mean = rates.reduce((sum, { gflops }) => sum + gflops, 0) / rates.length;
  const rateOf = ({ rows, columns }: Layers) =>
    rates.find((rate) => rate.rows === rows && rate.columns === columns)?.gflops ?? mean;
  const linear = step.layers.reduce((seconds, layer) => {
    const share = layer.head ? 2 * step.targetShare : 1 + step.backwardShare;
    const flops = 2 * layer.rows * layer.columns * layer.count * share;
    return seconds + flops / rateOf(layer) / 1e9;
  }, 0);
  // Scores and their product with the values, forward; twice as much back.
  const attention = 4 * step.length * step.attentionWidth * step.blocks *
    (1 + 2 * step.backwardShare);
  const adapters = 6 * step.adapterParameters;
  return 1 / (linear + (attention + adapters) / floatGflops / 1e9);
}
