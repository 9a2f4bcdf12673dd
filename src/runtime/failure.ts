/** ONNX Runtime's errors under the names that graft's callers know. */
import { OrtError, OrtLoadError } from "../../ffi/mod.ts";
import { RuntimeFailure } from "../errors.ts";

/** What to throw for `error`: ORT's own errors become a {@linkcode RuntimeFailure}. */
export function asFailure(error: unknown, what: string): unknown {
  if (error instanceof OrtError) {
    return new RuntimeFailure(`${what}: ${error.message} (${error.code})`, { cause: error });
  }
  if (error instanceof OrtLoadError) return new RuntimeFailure(error.message, { cause: error });
  return error;
}

/** Runs `action`, which `what` describes in the error: `Cannot compile "head"`. */
export function attempt<T>(what: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    throw asFailure(error, what);
  }
}

/** Like {@linkcode attempt}, for promises. */
export async function attemptAsync<T>(what: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    throw asFailure(error, what);
  }
}
