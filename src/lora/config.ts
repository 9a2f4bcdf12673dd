/** Settings of a LoRA adapter, in PEFT's terms, and their validation. */
import { type Message, ParameterError, worded } from "../errors.ts";

/** Random initialisations, under which the update starts at zero; see `initAdapter`. */
export type LoraInit = "kaiming" | "gaussian" | "orthogonal";

/**
 * Settings of an adapter (Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2021).
 * y' = y + scale·((x·Aᵀ)·Bᵀ) with A [rank, in], B [out, rank].
 */
export interface LoraConfig {
  /** Rank of the low-rank matrices. */
  readonly rank: number;
  /** The update is scaled by alpha/rank, with `useRslora` by alpha/√rank. */
  readonly alpha: number;
  /** Probability that an element of the adapter's input is dropped in training. */
  readonly dropout: number;
  /** Module names, paths, shorthands or patterns; see `resolveTargets`. */
  readonly targetModules: readonly string[];
  /** Rank by module name or pattern, over `rank`. */
  readonly rankPattern: Readonly<Record<string, number>>;
  /** Alpha by module name or pattern, over `alpha`. */
  readonly alphaPattern: Readonly<Record<string, number>>;
  /** Rank-stabilised scale (Kalajdzievski, "A Rank Stabilization Scaling Factor", 2023). */
  readonly useRslora: boolean;
  /** Whether the magnitudes of the weights' rows are trained too: DoRA (`dora.ts`). */
  readonly useDora: boolean;
  /** Layers to adapt, all if absent. */
  readonly layers?: readonly number[];
  /** Adapt only this many last layers; all if absent or -1. */
  readonly numLayers?: number;
  /** Modules trained fully beside the adapter, by name. */
  readonly modulesToSave: readonly string[];
  /** How A and B start. */
  readonly init: LoraInit;
}

/** PEFT's defaults, with its usual targets. */
export const DEFAULT_LORA: LoraConfig = {
  rank: 8,
  alpha: 16,
  dropout: 0,
  targetModules: ["q", "v"],
  rankPattern: {},
  alphaPattern: {},
  useRslora: false,
  useDora: false,
  modulesToSave: [],
  init: "kaiming",
};

/** alpha/rank, or alpha/√rank for rank-stabilised LoRA. */
export function loraScale(alpha: number, rank: number, useRslora: boolean): number {
  return useRslora ? alpha / Math.sqrt(rank) : alpha / rank;
}

/**
 * Checks the numbers of a configuration.
 *
 * @throws {ParameterError} naming the target and the value
 */
export function validateLoraConfig(config: Omit<LoraConfig, "init">): void {
  const where = config.targetModules.join(",");
  checkRank("rank", where, config.rank);
  for (const [key, rank] of Object.entries(config.rankPattern)) {
    checkRank("rankPattern", key, rank);
  }
  checkAlpha("loraAlpha", where, config.alpha);
  for (const [key, alpha] of Object.entries(config.alphaPattern)) {
    checkAlpha("alphaPattern", key, alpha);
  }
  if (!(config.dropout >= 0 && config.dropout < 1)) {
    fail("loraDropout", where, `dropout must be in [0, 1): current value is ${config.dropout}`);
  }
  if (config.targetModules.length === 0 && config.modulesToSave.length === 0) {
    throw new ParameterError(
      "targetModules",
      (name) =>
        "Cannot inject LoRA: no target modules were given; " +
        `\`${name("targetModules", "all-linear")}\` targets every linear layer`,
    );
  }
  const { numLayers } = config;
  if (
    numLayers !== undefined && numLayers !== -1 && !(Number.isInteger(numLayers) && numLayers >= 1)
  ) {
    fail(
      "numLayers",
      where,
      (name) => `${name("numLayers")} must be >= 1, or -1 for all: current value is ${numLayers}`,
    );
  }
}

/** Largest rank; no layer is wide enough for more. */
const MOST_RANK = 65_536;

function checkRank(parameter: string, where: string, rank: number): void {
  if (!Number.isInteger(rank)) {
    fail(parameter, where, `rank must be a whole number: current value is ${rank}`);
  }
  if (rank < 1) fail(parameter, where, `rank must be >= 1: current value is ${rank}`);
  if (rank > MOST_RANK) {
    fail(parameter, where, `rank must be <= ${MOST_RANK}: current value is ${rank}`);
  }
}

function checkAlpha(parameter: string, where: string, alpha: number): void {
  if (!(alpha > 0 && Number.isFinite(alpha))) {
    fail(parameter, where, `alpha must be > 0: current value is ${alpha}`);
  }
}

function fail(parameter: string, where: string, what: Message): never {
  throw new ParameterError(
    parameter,
    (name) => `Cannot inject LoRA at "${where}": ${worded(what, name)}`,
  );
}

/**
 * Parses layer numbers: `0-3,8`.
 *
 * @throws {ParameterError} for anything else
 */
export function parseLayers(text: string): readonly number[] {
  const layers = text.split(",").flatMap((part) => {
    const match = /^\s*(\d+)(?:-(\d+))?\s*$/.exec(part);
    const from = Number(match?.[1]);
    const to = Number(match?.[2] ?? match?.[1]);
    if (match === null || to < from || to > 100_000) {
      throw new ParameterError(
        "layers",
        `Layers must be given as numbers and ranges like 0-3,8: current value is "${text}"`,
      );
    }
    return Array.from({ length: to - from + 1 }, (_, i) => from + i);
  });
  return [...new Set(layers)].sort((a, b) => a - b);
}
