/** A process of a distributed job is gone. */
import { EXIT, GraftError, type Message } from "../errors.ts";

/** Another process of the job was killed, hangs, or cannot be reached. */
export class LostPeerError extends GraftError {
  /** Name of the class. */
  override name = "LostPeerError";
  /**
   * Makes the error.
   *
   * @param message names the rank, where that is known, and says how to go on
   */
  constructor(message: Message, options?: ErrorOptions) {
    super(message, EXIT.tryAgain, options);
  }
}
