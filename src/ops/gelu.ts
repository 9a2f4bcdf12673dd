/** GELU, x·Φ(x) with the normal distribution's Φ, and its slope Φ(x) + x·φ(x), in few passes. */
import { float } from "../graph/attributes.ts";
import type { GraphBuilder } from "../graph/builder.ts";
import { scalarLike } from "./broadcast.ts";

/** Emits Φ(x), and x/√2, which the slope also needs. */
export function emitCumulative(b: GraphBuilder, x: string) {
  const scaled = b.op("Mul", [x, scalarLike(b, x, Math.SQRT1_2)]);
  // (1 + erf)/2 in one pass: it lies within the limits of HardSigmoid.
  const half = { alpha: float(0.5), beta: float(0.5) };
  const cumulative = b.op("HardSigmoid", [b.op("Erf", [scaled])], half);
  return { scaled, cumulative };
}

/** Emits the slope at x, reusing what {@linkcode emitCumulative} has made if that is given. */
export function emitSlope(b: GraphBuilder, x: string, made = emitCumulative(b, x)): string {
  const { scaled, cumulative } = made;
  const logOfFactor = scalarLike(b, x, -0.5 * Math.log(2 * Math.PI));
  const exponent = b.op("Sub", [logOfFactor, b.op("Mul", [scaled, scaled])]);
  return b.op("Add", [cumulative, b.op("Mul", [x, b.op("Exp", [exponent])])]);
}
