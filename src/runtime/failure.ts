/** Converts ONNX Runtime's errors to graft's. */
import { OrtError, OrtLoadError } from "../../ffi/mod.ts";
import { RuntimeFailure } from "../errors.ts";
import { arenaRefusal } from "./memory_limit.ts";

/**
 * The error to throw for `error`: ORT's own errors become a {@linkcode RuntimeFailure}, or a
 * `RefusedError` if an arena's limit was reached.
 */
export function asFailure(error: unknown, what: string): unknown {
  if (error instanceof OrtError) {
    const refusal = arenaRefusal(what, error.message);
    if (refusal !== undefined) return refusal;
    return new RuntimeFailure(`${what}: ${error.message} (${error.code})`, { cause: error });
  }
  if (error instanceof OrtLoadError) {
    const { message } = error;
    return new RuntimeFailure(
      // ffi imports nothing of src: its message is plain text.
      (name) => message.replace("point ortLib or", `point ${name("ortLib")} or`),
      { cause: error },
    );
  }
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
