/** What may go wrong between a box and its SuperLink. */
import { EXIT, GraftError, type Message } from "../../errors.ts";

/** The SuperLink refuses this box, or is none that graft can talk to; another try changes nothing. */
export class SuperLinkError extends GraftError {
  /** Name of the class. */
  override name = "SuperLinkError";

  /** Flower's number of the error, if the SuperLink gave one. */
  readonly flowerCode: number | undefined;

  /** Makes the error; the message says what to do. */
  constructor(
    message: Message,
    exitCode: number = EXIT.access,
    options: ErrorOptions & { readonly flowerCode?: number } = {},
  ) {
    super(message, exitCode, options);
    this.flowerCode = options.flowerCode;
  }
}

/** The run that a message belongs to has ended: there is nobody to answer. */
export class RunEndedError extends Error {
  /** Name of the class. */
  override name = "RunEndedError";
}

/** The SuperLink does not know this node: it was started without its database, or the node was removed. */
export class UnknownNodeError extends Error {
  /** Name of the class. */
  override name = "UnknownNodeError";
}
