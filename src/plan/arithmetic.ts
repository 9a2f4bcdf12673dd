/**
 * How a step computes: one value, chosen once from the configuration, the model and the device
 * (`train/choose_arithmetic.ts`) and passed on. A computation to compare with has a value of its own.
 */
import type { DequantForm } from "../ops/dequant_form.ts";
import { type IntegerForm, unpairedForm } from "../ops/internal/integer_form.ts";
import type { Numeric } from "./names.ts";

/** How products of activations with frozen weights are computed, forward and backward. */
export type Products =
  /** In float32. */
  | { readonly in: "floats" }
  /**
   * In 8-bit integers where the file holds weights in 8 bits per channel, which are read as stored;
   * activations and cotangents are rounded to 16 bits, in two slices of 8. All other products are in floats.
   */
  | { readonly in: "16-bit integers"; readonly form: IntegerForm }
  /**
   * In 8-bit integers, with activations and cotangents rounded to 8 bits. Weights are rotated in blocks when
   * they are rounded, and activations when they are read. Weights that the file holds in 8 bits per channel
   * are read as stored, unless `rotated` is set: then they are rounded anew like all others.
   */
  | { readonly in: "8-bit integers"; readonly form: IntegerForm; readonly rotated: boolean };

/** How a step computes. */
export interface Arithmetic {
  readonly products: Products;
  /** How 4- and 8-bit blocks are converted to floats. */
  readonly dequantForm: DequantForm;
  /**
   * Precision of activations kept for the backward pass: `reduced` is float16, or 8 bits for many of them
   * with products in 8-bit integers; `whole` is float32.
   */
  readonly kept: "reduced" | "whole";
  /**
   * Whether weights take more memory so that calls do less work on them. In floats, packed weights are
   * unpacked once (`unpackWeights`); in 8-bit integers, weights are also stored transposed: all of them, or
   * with `deep` only those with more inputs than outputs (`quantizeLinears`). The results are the same.
   */
  readonly readyWeights: boolean | "deep";
  /**
   * Whether denormal numbers are flushed to zero where the step runs, so that nothing has to avoid them. This
   * holds on threads that run lists of calls, but not on those of the pool. Every part of a batch runs on one
   * or the other kind, so this is set when a part is planned (`planOptionsFor`).
   */
  readonly flushed: boolean;
}

/** The setting `exact` in floats, as on any device. */
export const IN_FLOATS: Arithmetic = Object.freeze({
  products: Object.freeze({ in: "floats" }),
  dequantForm: "gather_block",
  kept: "reduced",
  readyWeights: false,
  flushed: false,
});

/** What an arithmetic is made from, in the terms of flags and of the files that a run writes. */
export interface ArithmeticSettings extends Partial<Omit<Arithmetic, "products">> {
  /** Default `exact`. */
  readonly numeric?: Numeric;
  /** Whether `exact` computes in 16-bit integers; default false: in floats. */
  readonly sliced?: boolean;
  /** Whether `fast` rounds anew what the file holds in 8 bits; default false. */
  readonly rotated?: boolean;
  /**
   * How activations and weights are rounded to integers; default `u8s8`, which saturates on x86 with AVX2 but
   * without VNNI (`formsHere` lists the forms that do not).
   */
  readonly integerForm?: IntegerForm;
}

/** The arithmetic for the given settings. */
export function arithmeticOf(settings: ArithmeticSettings = {}): Arithmetic {
  const { numeric = "exact", sliced = false, rotated = false, integerForm: form = "u8s8" } =
    settings;
  const products: Products = numeric === "fast"
    ? { in: "8-bit integers", form, rotated }
    : sliced
    ? { in: "16-bit integers", form: unpairedForm(form) }
    : { in: "floats" };
  const { dequantForm, kept, readyWeights, flushed } = settings;
  return Object.freeze({
    products: Object.freeze(products),
    dequantForm: dequantForm ?? IN_FLOATS.dequantForm,
    kept: kept ?? IN_FLOATS.kept,
    readyWeights: readyWeights ?? IN_FLOATS.readyWeights,
    flushed: flushed ?? IN_FLOATS.flushed,
  });
}

/** The same arithmetic with some properties changed; those not given stay. */
export function changed(arithmetic: Arithmetic, change: Partial<Arithmetic>): Arithmetic {
  return Object.freeze({ ...arithmetic, ...change });
}

/** The numeric setting of an arithmetic: `fast` means 8-bit integers. */
export function numericOf({ products }: Pick<Arithmetic, "products">): Numeric {
  return products.in === "8-bit integers" ? "fast" : "exact";
}

/** The integer form of products; `undefined` where all are in floats. */
export function formOfProducts(
  { products }: Pick<Arithmetic, "products">,
): IntegerForm | undefined {
  return products.in === "floats" ? undefined : products.form;
}

/** Whether `fast` rounds anew, with rotation, what the file holds in 8 bits. */
export function isRotated({ products }: Pick<Arithmetic, "products">): boolean {
  return products.in === "8-bit integers" && products.rotated;
}

/** Whether `exact` computes in 16-bit integers. */
export function isSliced({ products }: Pick<Arithmetic, "products">): boolean {
  return products.in === "16-bit integers";
}

/** The same arithmetic with all products in floats. */
export function inFloats(arithmetic: Arithmetic): Arithmetic {
  return changed(arithmetic, { products: IN_FLOATS.products });
}

/**
 * The float arithmetic whose gradient another arithmetic's is compared with. If that one rounds weights to 8
 * bits, weights are not unpacked for the comparison: a few batches do not justify a second form of all
 * weights.
 */
export function floatsBeside(arithmetic: Arithmetic): Arithmetic {
  const floats = inFloats(arithmetic);
  return numericOf(arithmetic) === "fast" ? changed(floats, { readyWeights: false }) : floats;
}

/**
 * The arithmetic for losses and logits without gradients, given that of gradients: in floats, as in
 * inference, with weights as stored.
 */
export function withoutGradients(arithmetic: Arithmetic): Arithmetic {
  return changed(inFloats(arithmetic), { readyWeights: false });
}

/** A key that is equal exactly for arithmetics that compute their products alike. */
export function productsKey({ products }: Pick<Arithmetic, "products">): string {
  switch (products.in) {
    case "floats":
      return "floats";
    case "16-bit integers":
      return `16-bit ${products.form}`;
    case "8-bit integers":
      return `8-bit ${products.form}${products.rotated ? " rotated" : ""}`;
  }
}

/** A key that is equal exactly for equal arithmetics. */
export function arithmeticKey(arithmetic: Arithmetic): string {
  const { dequantForm, kept, readyWeights, flushed } = arithmetic;
  return [productsKey(arithmetic), dequantForm, kept, readyWeights, flushed].join();
}

/**
 * Formats an arithmetic for people: `products in 8-bit integers (u8s8, rotated), blocks by gather_block, …`.
 */
export function formatArithmetic(arithmetic: Arithmetic): string {
  const { products, dequantForm, kept, readyWeights, flushed } = arithmetic;
  const form = formOfProducts(arithmetic);
  const how = [...(form ? [form] : []), ...(isRotated(arithmetic) ? ["rotated"] : [])];
  const keptIn = numericOf(arithmetic) === "fast" ? "8 and 16 bits" : "float16";
  return [
    `products in ${products.in}${how.length > 0 ? ` (${how.join(", ")})` : ""}`,
    `blocks dequantised by ${dequantForm}`,
    `wide activations kept in ${kept === "whole" ? "float32" : keptIn}`,
    ...(readyWeights ? [`${readyWeights === "deep" ? "deep " : ""}weights made ready`] : []),
    ...(flushed ? ["denormals flushed"] : []),
  ].join(", ");
}
