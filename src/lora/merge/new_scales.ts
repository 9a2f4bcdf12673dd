/** Replaces the file's scales by those of scale adapters. */
import { elementCount, type Tensor } from "../../graph/tensor.ts";
import { transposedMatrix } from "../../graph/transposed_matrix.ts";
import type { Model } from "../../graph/types.ts";
import { BadInputError } from "../../errors.ts";
import { floatsOf, floatTensor, roundToFloat } from "../../quant/numbers.ts";
import { Scratch } from "../../quant/scratch.ts";
import type { LinearModule } from "../modules.ts";
import { scaleGrid } from "../scale_adapter.ts";
import type { ModuleChange, RowChange } from "./delta.ts";
import { isolate, moduleAt, modulesOf } from "./isolate.ts";
import { groupByNode, rowChange } from "./plan.ts";
import { withScaleChanges } from "./scale_changes.ts";

/** A model with other scales, and the changes that are not yet applied to it. */
export interface Rescaled {
  readonly model: Model;
  readonly left: readonly ModuleChange[];
}

/**
 * Gives layers exactly the scales that a merge of the changes writes: scales computed by nodes of the
 * graph could differ in the last bit, which kernels that round activations to 8 bits amplify.
 *
 * @param changes of which only `scaleUpdates` are applied, except those of layers with floats that the
 *   graph rounds by the same scales, or with an int32 bias, which is rounded by them too
 * @throws {BadInputError} if one does not fit the model
 */
export function withNewScales(model: Model, changes: readonly ModuleChange[]): Rescaled {
  let modules = modulesOf(model);
  const scaled = changes.filter(({ scaleUpdates = [] }) => scaleUpdates.length > 0);
  const now = scaled.filter(({ path }) => {
    const { roundedTo, integerBias } = moduleAt(modules, path);
    return roundedTo === undefined && integerBias === undefined;
  });
  for (const { path } of now) modules = isolate(modules, path, ["scales"]);
  const { graph } = modules.model;
  const initializers = new Map(graph.initializers);
  for (const group of groupByNode(modules, now.map(({ path }) => path))) {
    const rows = group.flatMap((module) => rowChange(modules.index, module, now));
    const [module] = group;
    const scales = modules.index.constant(module.scales!)!;
    const { blocks, transposed } = scaleGrid(modules.index, module);
    initializers.set(module.scales!, changedScales(module, scales, rows, { blocks, transposed }));
  }
  return {
    model: now.length === 0 ? model : { ...modules.model, graph: { ...graph, initializers } },
    left: scaled.filter((change) => !now.includes(change)),
  };
}

function changedScales(
  { path, slice, outFeatures, inFeatures, blockSize }: LinearModule,
  { dtype, dims, ...scales }: Tensor,
  changes: readonly RowChange[],
  { blocks, transposed }: ReturnType<typeof scaleGrid>,
): Tensor {
  const rows = slice?.total ?? outFeatures;
  if (elementCount(dims) !== rows * blocks) {
    throw new BadInputError(
      `Cannot adapt the scales of "${path}": there must be ${
        rows * blocks
      }: current shape is [${dims}]`,
    );
  }
  const own = { dtype, dims, ...scales };
  const stored = floatsOf(transposed ? transposedMatrix(own, blocks, rows) : own);
  const matrix = {
    grid: { groupCols: blockSize ?? inFeatures },
    storedScale: (scale: number) => roundToFloat(dtype, scale),
  };
  const slab = { from: 0, rows, cols: inFeatures, scales: stored };
  const { scales: made } = withScaleChanges(matrix, slab, changes, new Scratch());
  const byRows = floatTensor(dtype, transposed ? [rows, blocks] : dims, made);
  return transposed ? { ...transposedMatrix(byRows, rows, blocks), dims } : byRows;
}
