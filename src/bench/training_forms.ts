/** How a training step computes what it can compute in several ways: as was quickest on this device. */
import type { Model } from "../graph/types.ts";
import { DEQUANT_FORMS, type DequantForm } from "../ops/dequantize.ts";
import { INTEGER_FORMS, type IntegerForm } from "../ops/internal/integer_form.ts";
import type { Numeric } from "../plan/names.ts";
import type { Runner } from "../runtime/runner.ts";
import { kernelSource, loadKernels, saveKernels } from "./kernel_cache.ts";
import { dequantKernel, formsFor } from "./kernel_graphs.ts";
import { type Effort, measureProduct } from "./kernels.ts";
import { dequantFormOf, integerFormOf, type KernelTable, withTimings } from "./kernel_table.ts";
import { commonShape } from "./model_shapes.ts";

/** What is absent was not measured, or could not be. */
export interface TrainingForms {
  readonly dequantForm?: DequantForm;
  readonly integerForm?: IntegerForm;
  /** Of a run whose gradient in `fast` is right only so: see `PlanSettings`. */
  readonly rotated?: boolean;
}

/** Rows of the activations that a short measurement multiplies. */
const TOKENS = 128;

/** A fraction of a second: once for a device. */
const SHORT: Effort = { rounds: [3, 20], budgetMs: 200 };

/**
 * The forms that were quickest on this device; what was never measured here is, shortly, on the shape
 * that most of the model's weights have, and kept.
 *
 * @param numeric products in 8-bit integers are in `fast` alone
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
  const kernels = [
    ...DEQUANT_FORMS.map(dequantKernel),
    ...(numeric === "fast" ? INTEGER_FORMS : []),
  ];
  const forms = shape === undefined ? [] : formsFor(shape)
    .filter(({ name }) => kernels.includes(name) && !isMeasured(table, name));
  if (shape === undefined || forms.length === 0) return formsOf(table);
  const timings = await measureProduct(runner, shape, TOKENS, forms, SHORT);
  const measured = withTimings(table, timings, new Date().toISOString());
  saveKernels(measured);
  return formsOf(measured);
}

const formsOf = (table: KernelTable): TrainingForms => ({
  dequantForm: dequantFormOf(table),
  integerForm: integerFormOf(table),
});

/** Also where the runtime turned out to lack it. */
function isMeasured({ timings }: KernelTable, kernel: string): boolean {
  return timings.some(({ form }) => form === kernel);
}
