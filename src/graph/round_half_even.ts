/** The nearest whole number, ties to even: the rule of ONNX's Round and QuantizeLinear. */
export function roundHalfEven(x: number): number {
  const down = Math.floor(x);
  if (x - down !== 0.5) return Math.round(x);
  return down % 2 === 0 ? down : down + 1;
}
