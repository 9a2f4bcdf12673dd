/** Rules of ONNX Runtime's own operators and of quantised ones, one line each. */
import type { OpRule } from "./types.ts";

export const CONTRIB_RULES: readonly OpRule[] = [];
