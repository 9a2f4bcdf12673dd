/** Rules of the ONNX domain, one line each. */
import type { OpRule } from "./types.ts";

export const STANDARD_RULES: readonly OpRule[] = [];
