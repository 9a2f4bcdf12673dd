/** The nearest whole number, the even one of two: ONNX's Round, and how QuantizeLinear rounds. */
export function roundHalfEven(x: number): number {
  const down = Math.floor(x);
  if (x - down !== 0.5) return Math.round(x);
  return down % 2 === 0 ? down : down + 1;
}
