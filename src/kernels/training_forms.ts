/** How a training step computes what can be computed in several ways: as was quickest on this device. */
import type { Model } from "../graph/types.ts";
import { DEQUANT_FORMS, type DequantForm } from "../ops/dequant_form.ts";
import { INTEGER_FORMS, type IntegerForm } from "../ops/internal/integer_form.ts";
import type { Numeric } from "../plan/names.ts";
import type { Runner } from "../runtime/runner.ts";
import { kernelSource, loadKernels, saveKernels } from "./kernel_cache.ts";
import {
  dequantKernel,
  FLOAT_ROWS,
  FLOATS,
  formsFor,
  SLICED_FORMS,
  slicedKernel,
} from "./kernel_graphs.ts";
import { type Effort, measureProduct } from "./measure_product.ts";
import {
  dequantFormOf,
  integerFormOf,
  integerLead,
  type KernelTable,
  slicesAreQuicker,
  withTimings,
} from "./kernel_table.ts";
import { commonShape } from "./model_shapes.ts";

/** Absent fields were not measured, or could not be. */
export interface TrainingForms {
  readonly dequantForm?: DequantForm;
  readonly integerForm?: IntegerForm;
  /** Set for a run whose gradient in `fast` is right only with rotation: see `plan/arithmetic.ts`. */
  readonly rotated?: boolean;
  /** Whether `exact` multiplies 8-bit weights in integers: see `plan/arithmetic.ts`. */
  readonly sliced?: boolean;
  /** How many times quicker a product in integers is than one in floats. */
  readonly integerLead?: number;
  /** For a run that asked for `fast`: the setting whose whole steps were quicker. */
  readonly quicker?: Numeric;
}

/** Rows of the activations that a short measurement multiplies. */
const TOKENS = 128;

/** A fraction of a second, once per device. */
const SHORT: Effort = { rounds: [3, 20], budgetMs: 200 };

/**
 * The forms that were quickest on this device. What was never measured here is measured briefly, on the shape
 * that most of the model's weights have, and kept.
 *
 * @param numeric decides which products may run in integers: in `exact` those with 8-bit weights
 */
export async function trainingForms(
  runner: Runner,
  threads: number | undefined,
  model: Model,
  numeric: Numeric,
): Promise<TrainingForms> {
  const source = kernelSource(runner, threads);
  const table = loadKernels(source) ?? { ...source, measuredAt: "", timings: [] };
  const shape = commonShape(model);
  /** Whether `exact` may read the weights in integers. */
  const inRows = shape?.bits === 8 && shape.blockSize === undefined;
  const kernels = [
    ...DEQUANT_FORMS.map(dequantKernel),
    ...(numeric === "fast" || inRows ? INTEGER_FORMS : []),
    ...(numeric === "fast" ? [FLOATS] : []),
    // Those of `exact`, which `fast` may fall back to.
    ...(inRows ? [FLOAT_ROWS, ...SLICED_FORMS.map(slicedKernel)] : []),
  ];
  const forms = shape === undefined ? [] : formsFor(shape)
    .filter(({ name }) => kernels.includes(name) && !isMeasured(table, name));
  if (shape === undefined || forms.length === 0) return formsOf(table, inRows);
  const timings = await measureProduct(runner, shape, TOKENS, forms, SHORT);
  // What another run has measured meanwhile stays: all runs on a device then compute alike.
  const now = loadKernels(source) ?? table;
  const missing = timings.filter(({ form }) => !isMeasured(now, form));
  const measured = withTimings(now, missing, new Date().toISOString());
  saveKernels(measured);
  return formsOf(measured, inRows);
}

const formsOf = (table: KernelTable, inRows: boolean): TrainingForms => ({
  dequantForm: dequantFormOf(table),
  integerForm: integerFormOf(table),
  integerLead: integerLead(table),
  ...(inRows ? { sliced: slicesAreQuicker(table) } : {}),
});

/** True also if the runtime turned out to lack the kernel. */
function isMeasured({ timings }: KernelTable, kernel: string): boolean {
  return timings.some(({ form }) => form === kernel);
}
