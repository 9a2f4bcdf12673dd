/** Which vectors of a model an adapter trains. */
import { neededNodes } from "../../graph/passes/prune.ts";
import type { Model } from "../../graph/types.ts";
import { ParameterError } from "../../errors.ts";
import { layerOf } from "../names.ts";
import { lossOutput } from "../reach.ts";
import type { LinearModule } from "../modules.ts";
import type { TrainedBiases, VectorMethod } from "./methods.ts";
import { findVectors, type ModuleVector } from "./find.ts";

/** What is chosen. */
export interface VectorChoice {
  readonly method?: VectorMethod;
  readonly bias: TrainedBiases;
  /** Paths of the layers with LoRA. */
  readonly adapted: ReadonlySet<string>;
  /** The only layers, all if absent. */
  readonly layers?: ReadonlySet<number>;
}

/**
 * The vectors that are trained: of those that the loss depends on.
 *
 * @throws {ParameterError} if the model has none
 */
export function chooseVectors(
  model: Model,
  modules: readonly LinearModule[],
  { method, bias, adapted, layers }: VectorChoice,
): readonly ModuleVector[] {
  if (method === undefined && bias === "none") return [];
  const output = lossOutput(model);
  const needed = output === undefined
    ? undefined
    : new Set(neededNodes(model.graph.nodes, [output]));
  const isWanted = ({ path, which, of }: ModuleVector) => {
    const isNorm = method === "ln_tuning" && of === "normalisation";
    const isBias = which === "bias" && (method === "bitfit" || bias === "all" ||
      bias === "lora_only" && of === "linear" && adapted.has(path));
    return isNorm || isBias;
  };
  const found = findVectors(model, modules).filter((vector) => {
    if (!isWanted(vector)) return false;
    const layer = layerOf(vector.path);
    if (layers !== undefined && (layer === undefined || !layers.has(layer))) return false;
    return needed === undefined || vector.readers.some((node) => needed.has(node));
  });
  if (found.length > 0) return found;
  const [parameter, what] = method === "ln_tuning"
    ? ["adapterType", "normalisation with a weight in floats"]
    : [method === undefined ? "bias" : "adapterType", "bias in floats"];
  throw new ParameterError(
    parameter,
    (name) =>
      `${name(parameter, method ?? bias)} has nothing to train: the model has no ${what} in the ` +
      "chosen layers",
  );
}
