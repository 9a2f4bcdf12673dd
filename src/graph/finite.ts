/** Finds values that are not finite. */
import { isFloating } from "./dtype.ts";
import type { Tensor } from "./tensor.ts";

/** Per floating type: bytes of an element, and the bits of its last 16 that are the exponent. */
const EXPONENT = { float64: 0x7ff0, float32: 0x7f80, float16: 0x7c00, bfloat16: 0x7f80 } as const;
const ELEMENT_BYTES = { float64: 8, float32: 4, float16: 2, bfloat16: 2 } as const;

/** Index of the first NaN or infinite element of a tensor, -1 if all are finite. */
export function firstNonFinite({ dtype, bytes }: Tensor): number {
  if (!isFloating(dtype)) return -1;
  const key = dtype as keyof typeof EXPONENT;
  const size = ELEMENT_BYTES[key], mask = EXPONENT[key];
  // A value is NaN or infinite when every exponent bit is set; they all lie in its top two bytes.
  // Read bytewise: a view of a file need not be aligned.
  const high = mask >> 8, low = mask & 255;
  for (let at = size - 1; at < bytes.byteLength; at += size) {
    if ((bytes[at] & high) === high && (bytes[at - 1] & low) === low) return (at - size + 1) / size;
  }
  return -1;
}
