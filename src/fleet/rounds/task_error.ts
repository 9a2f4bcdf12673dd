/** Why a task cannot be done. */
import { BadInputError } from "../../errors.ts";

/**
 * A task that this box does not understand or cannot do. Its message is about what the server sent, so that
 * the server may see it.
 */
export class TaskError extends BadInputError {
  /** Name of the class. */
  override name = "TaskError";
}

/** Codes of the errors that boxes answer with; Flower's own end at 100. */
export const REPLY_ERRORS = {
  notUnderstood: 101,
  tooLate: 102,
  failed: 103,
  diverged: 104,
} as const;
