/**
 * How a step computes: one value that is chosen once, from configuration, model and device
 * (`train/choose_arithmetic.ts`), and handed on. What computes otherwise, to compare, has another value.
 */
import type { DequantForm } from "../ops/dequant_form.ts";
import type { IntegerForm } from "../ops/internal/integer_form.ts";
import type { Numeric } from "./names.ts";

/** How products of activations with frozen weights are computed, both ways. */
export type Products =
  /** In float32. */
  | { readonly in: "floats" }
  /**
   * In 8-bit integers where the file holds weights in 8 bits per channel, which are read as they lie;
   * activations and cotangents are rounded to 16 bits, in two slices of 8. All others in floats.
   */
  | { readonly in: "16-bit integers"; readonly form: IntegerForm }
  /**
   * In 8-bit integers, activations and cotangents rounded to 8 bits. Weights are rotated in blocks as they
   * are rounded, and activations as they are read; those that the file holds in 8 bits per channel are
   * read as they lie unless `rotated`: then they are rounded anew like all others.
   */
  | { readonly in: "8-bit integers"; readonly form: IntegerForm; readonly rotated: boolean };

/** How a step computes. */
export interface Arithmetic {
  readonly products: Products;
  /** How 4- and 8-bit blocks become floats. */
  readonly dequantForm: DequantForm;
  /**
   * In how many bits activations wait for the backward pass: `reduced` is float16, and 8 bits for much of
   * them beside products in 8-bit integers; `whole` is float32.
   */
  readonly kept: "reduced" | "whole";
  /**
   * Whether weights take more memory so that calls do less with them: in floats packed ones are taken
   * apart once (`unpackWeights`), in 8-bit integers they are there both ways round, or those that are
   * deep alone (`quantizeLinears`). The numbers are the same.
   */
  readonly readyWeights: boolean | "deep";
  /**
   * Whether numbers too small to be normal are zero where it runs, so that nothing has to be kept away
   * from them: on threads that run lists of calls, not on those of the pool. A part of a batch has the one
   * or the other, so that it is set as a part is planned (`planOptionsFor`).
   */
  readonly flushed: boolean;
}

/** The setting `exact` in floats, as any device computes it. */
export const IN_FLOATS: Arithmetic = Object.freeze({
  products: Object.freeze({ in: "floats" }),
  dequantForm: "gather_block",
  kept: "reduced",
  readyWeights: false,
  flushed: false,
});

/** What an arithmetic is made of, in the words of flags and of the files that a run leaves. */
export interface ArithmeticSettings extends Partial<Omit<Arithmetic, "products">> {
  /** Default `exact`. */
  readonly numeric?: Numeric;
  /** Whether `exact` computes in 16-bit integers; default false: in floats. */
  readonly sliced?: boolean;
  /** Whether `fast` rounds anew what the file holds in 8 bits; default false. */
  readonly rotated?: boolean;
  /**
   * How activations and weights are rounded to integers; default `u8s8`, which saturates on x86 with AVX2
   * and without VNNI (`formsHere` tells what does not).
   */
  readonly integerForm?: IntegerForm;
}

/** An arithmetic of settings. */
export function arithmeticOf(settings: ArithmeticSettings = {}): Arithmetic {
  const { numeric = "exact", sliced = false, rotated = false, integerForm: form = "u8s8" } =
    settings;
  const products: Products = numeric === "fast"
    ? { in: "8-bit integers", form, rotated }
    : sliced
    ? { in: "16-bit integers", form }
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

/** The same with something else; what is not given stays. */
export function changed(arithmetic: Arithmetic, change: Partial<Arithmetic>): Arithmetic {
  return Object.freeze({ ...arithmetic, ...change });
}

/** The setting that an arithmetic belongs to: `fast` is 8-bit integers. */
export function numericOf({ products }: Pick<Arithmetic, "products">): Numeric {
  return products.in === "8-bit integers" ? "fast" : "exact";
}

/** The form of products in integers; `undefined` where all are of floats. */
export function formOfProducts(
  { products }: Pick<Arithmetic, "products">,
): IntegerForm | undefined {
  return products.in === "floats" ? undefined : products.form;
}

/** Whether `fast` rounds anew, rotated, what the file holds in 8 bits. */
export function isRotated({ products }: Pick<Arithmetic, "products">): boolean {
  return products.in === "8-bit integers" && products.rotated;
}

/** Whether `exact` computes in 16-bit integers. */
export function isSliced({ products }: Pick<Arithmetic, "products">): boolean {
  return products.in === "16-bit integers";
}

/** An arithmetic with all products in floats. */
export function inFloats(arithmetic: Arithmetic): Arithmetic {
  return changed(arithmetic, { products: IN_FLOATS.products });
}

/**
 * The arithmetic in floats that another one's gradient is compared with. Beside weights rounded to 8 bits
 * none are taken apart for it: a few batches are not worth a second form of all weights.
 */
export function floatsBeside(arithmetic: Arithmetic): Arithmetic {
  const floats = inFloats(arithmetic);
  return numericOf(arithmetic) === "fast" ? changed(floats, { readyWeights: false }) : floats;
}

/**
 * The arithmetic of losses and logits without gradients, beside that of gradients: in floats, as inference
 * has it, with weights as they lie.
 */
export function withoutGradients(arithmetic: Arithmetic): Arithmetic {
  return changed(inFloats(arithmetic), { readyWeights: false });
}

/** Equal for arithmetics that compute their products alike, and no others. */
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

/** Equal for equal arithmetics, and no others. */
export function arithmeticKey(arithmetic: Arithmetic): string {
  const { dequantForm, kept, readyWeights, flushed } = arithmetic;
  return [productsKey(arithmetic), dequantForm, kept, readyWeights, flushed].join();
}

/** For people: `products in 8-bit integers (u8s8, rotated), blocks by gather_block, …`. */
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
