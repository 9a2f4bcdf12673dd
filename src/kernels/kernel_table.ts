/** Measured kernels as a table that can be kept, read back and queried. */
import { DEQUANT_FORMS, type DequantForm } from "../ops/dequant_form.ts";
import {
  INTEGER_FORMS,
  type IntegerForm,
  rightForms,
  unpairedForm,
  weightType,
} from "../ops/internal/integer_form.ts";
import {
  dequantKernel,
  FLOAT_ROWS,
  FLOATS,
  slicedKernel,
  type StoredShape,
} from "./kernel_graphs.ts";
import { median } from "../statistics.ts";
import { quickestForm } from "./quickest_form.ts";

/** Version of the table's text: tables of another version are measured again. */
const FORMAT = 4;

/** How long one product took. */
export interface KernelTiming extends StoredShape {
  /** One of `KERNEL_FORMS`. */
  readonly form: string;
  /** Rows of the activations. */
  readonly tokens: number;
  /** Median of the runs; absent if the runtime does not have the kernel. */
  readonly milliseconds?: number;
  /** Whether sums of large integers come out wrong here (`runtime/saturates.ts`). */
  readonly saturates?: true;
}

/** What the figures apply to. */
export interface KernelSource {
  readonly processor: string;
  /** Digest of the processor's instruction sets. */
  readonly features: string;
  readonly threads: number;
  /** ONNX Runtime's name and version. */
  readonly runtime: string;
  /** Version of graft, whose graphs were measured. */
  readonly graft: string;
}

export interface KernelTable extends KernelSource {
  /** ISO date and time of the newest figure. */
  readonly measuredAt: string;
  readonly timings: readonly KernelTiming[];
}

/** Billions of floating-point operations per second, a multiplication and an addition counted as two. */
export function gflops({ rows, columns, tokens, milliseconds }: KernelTiming): number | undefined {
  return milliseconds === undefined ? undefined : 2 * rows * columns * tokens / milliseconds / 1e6;
}

/** A product's name, whatever computes it: `4 bits in blocks of 32, 576x576, 256 tokens`. */
export function productName(
  { rows, columns, bits, blockSize, tokens }: StoredShape & { readonly tokens: number },
): string {
  const storage = blockSize === undefined ? "" : ` in blocks of ${blockSize}`;
  return `${bits} bits${storage}, ${rows}x${columns}, ${tokens} tokens`;
}

/** The quickest way of dequantising blocks here; `undefined` if the table cannot tell. */
export function dequantFormOf(table: KernelTable): DequantForm | undefined {
  return quickestOf(table, DEQUANT_FORMS, dequantKernel);
}

/** The quickest 8-bit products here that do not saturate; `undefined` if the table cannot tell. */
export function integerFormOf(table: KernelTable): IntegerForm | undefined {
  const is = (form: IntegerForm, what: (timing: KernelTiming) => boolean) =>
    table.timings.some((timing) => timing.form === form && what(timing));
  const saturating = INTEGER_FORMS.filter((form) => is(form, ({ saturates = false }) => saturates));
  const usable = rightForms(saturating).filter((form) =>
    is(form, ({ milliseconds }) => milliseconds !== undefined)
  );
  // Unsigned weights are a copy of those that a file holds as int8: used only where they must be.
  const signed = usable.filter((form) => weightType(unpairedForm(form)) === "int8");
  return quickestOf(table, signed.length > 0 ? signed : usable, (form) => form);
}

/**
 * Whether products of 16-bit activations with 8-bit weights are quicker here than those of floats, in the
 * form of {@linkcode integerFormOf}; `undefined` if the table cannot tell.
 */
export function slicesAreQuicker(table: KernelTable): boolean | undefined {
  const form = integerFormOf(table);
  if (form === undefined) return undefined;
  const kernels = [slicedKernel(unpairedForm(form)), FLOAT_ROWS];
  const quickest = quickestOf(table, kernels, (kernel) => kernel);
  return quickest === undefined ? undefined : quickest !== FLOAT_ROWS;
}

/**
 * How many times quicker products in the form of {@linkcode integerFormOf} are than those of floats;
 * `undefined` if the table cannot tell.
 */
export function integerLead(table: KernelTable): number | undefined {
  const integers = integerFormOf(table);
  const leads = [...Map.groupBy(table.timings, productName).values()].flatMap((timings) => {
    const timeOf = (kernel: string | undefined) =>
      timings.find(({ form }) => form === kernel)?.milliseconds;
    const [slow, quick] = [timeOf(FLOATS), timeOf(integers)];
    return slow === undefined || quick === undefined ? [] : [slow / quick];
  });
  return leads.length === 0 ? undefined : median(leads);
}

function quickestOf<Form extends string>(
  { timings }: KernelTable,
  forms: readonly Form[],
  kernelOf: (form: Form) => string,
): Form | undefined {
  const found = timings.flatMap((timing) => {
    const form = forms.find((form) => timing.form === kernelOf(form));
    const { milliseconds } = timing;
    if (form === undefined || milliseconds === undefined) return [];
    return [{ form, product: productName(timing), milliseconds }];
  });
  return quickestForm(forms, found);
}

/** A table with more timings; newer ones of the same product and form replace older ones. */
export function withTimings(
  table: KernelTable,
  timings: readonly KernelTiming[],
  measuredAt: string,
): KernelTable {
  const key = (timing: KernelTiming) => `${timing.form}: ${productName(timing)}`;
  const all = new Map([...table.timings, ...timings].map((timing) => [key(timing), timing]));
  return { ...table, measuredAt, timings: [...all.values()] };
}

/** A timing under its JSON names. */
export function timingJson(timing: KernelTiming) {
  const { form, rows, columns, bits, blockSize, tokens, milliseconds, saturates } = timing;
  return {
    form,
    rows,
    columns,
    bits,
    block_size: blockSize ?? null,
    tokens,
    milliseconds: milliseconds ?? null,
    gflops: gflops(timing) ?? null,
    saturates: saturates ?? false,
  };
}

export function formatKernelTable(table: KernelTable): string {
  const { processor, features, threads, runtime, graft, measuredAt, timings } = table;
  return JSON.stringify(
    {
      format: FORMAT,
      processor,
      features,
      threads,
      runtime,
      graft,
      measured_at: measuredAt,
      kernels: timings.map(timingJson),
    },
    null,
    1,
  );
}

/**
 * Reads a table back.
 *
 * @returns `undefined` for a text that is not a table, or is one of another processor, runtime, graft or
 *   format: a cache that cannot be used is measured again
 */
export function parseKernelTable(text: string, source: KernelSource): KernelTable | undefined {
  let read;
  try {
    read = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (read?.format !== FORMAT || !Array.isArray(read.kernels)) return undefined;
  for (const key of ["processor", "features", "threads", "runtime", "graft"] as const) {
    if (read[key] !== source[key]) return undefined;
  }
  const timings = read.kernels.map(parseTiming);
  if (timings.includes(undefined) || typeof read.measured_at !== "string") return undefined;
  return { ...source, measuredAt: read.measured_at, timings };
}

function parseTiming(row: Record<string, unknown> | null): KernelTiming | undefined {
  const { form, rows, columns, bits, block_size, tokens, milliseconds, saturates } = row ?? {};
  const sizes = [rows, columns, bits, tokens, block_size ?? 1, milliseconds ?? 1];
  if (
    typeof form !== "string" || typeof saturates !== "boolean" ||
    !sizes.every((size) => typeof size === "number" && size > 0)
  ) {
    return undefined;
  }
  return {
    form,
    rows: rows as number,
    columns: columns as number,
    bits: bits as number,
    ...(block_size === null ? {} : { blockSize: block_size as number }),
    tokens: tokens as number,
    ...(milliseconds === null ? {} : { milliseconds: milliseconds as number }),
    ...(saturates ? { saturates } : {}),
  };
}
