/** How an error becomes a line on standard error and an exit code. */
import { EXIT, GraftError } from "../../errors.ts";
import { withCarriedNames } from "../../model/carried_model.ts";
import { asCommandLine } from "../parameter_names.ts";

/** Exit code of an error; anything graft did not foresee is a bug of its own. */
export function exitCodeOf(error: unknown): number {
  return error instanceof GraftError ? error.exitCode : EXIT.internal;
}

/** What an error says, with parameters named as the command line has them. */
export function messageOf(error: unknown): string {
  if (error instanceof GraftError) return error.worded(asCommandLine);
  return error instanceof Error ? error.message : String(error);
}

/**
 * What the user reads: one line, and the stack where `debug` asks for it.
 *
 * A bug's line says that it is one, since its message was not written for users.
 */
export function formatError(error: unknown, debug: boolean): string {
  const message = messageOf(error);
  const line = withCarriedNames(message).replace(/\s*\n\s*/g, " ");
  const foreseen = error instanceof GraftError;
  const head = foreseen ? `graft: ${line}` : `graft: internal error: ${line}`;
  if (!debug) return foreseen ? head : `${head} (GRAFT_DEBUG=1 shows where)`;
  return error instanceof Error ? `${head}\n${stackOf(error)}` : head;
}

function stackOf(error: Error): string {
  const cause = error.cause instanceof Error ? `\ncaused by ${stackOf(error.cause)}` : "";
  return (error.stack ?? "") + cause;
}
