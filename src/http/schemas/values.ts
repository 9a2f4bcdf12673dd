/** Kinds of values in requests. */
import * as v from "valibot";

/** A value that may be left out or null, as clients write defaults. */
export const maybe = <S extends v.GenericSchema>(schema: S) => v.optional(v.nullable(schema));

export const number = (least: number, most: number) =>
  v.pipe(v.number(), v.minValue(least), v.maxValue(most));
export const integer = (least: number, most: number) =>
  v.pipe(v.number(), v.integer(), v.minValue(least), v.maxValue(most));
