/**
 * Errors that a user can act on, and their exit codes.
 *
 * Any other exception is a bug in graft and ends with exit code 70.
 */

/** Exit codes, documented in docs/reference.md and in `graft help`. */
export const EXIT = {
  ok: 0,
  /** The work was done and the answer is no: a merge beyond tolerance, a run that needs too much memory. */
  refused: 1,
  /** Unknown flag, missing argument, value out of range. */
  usage: 2,
  /** A file is missing, unreadable or not what it should be. */
  badInput: 65,
  /** A bug in graft. */
  internal: 70,
  /** Disk full, permission denied, I/O error. */
  io: 74,
  /** ONNX Runtime is missing, too old or failed. */
  runtime: 69,
  /**
   * Another try may succeed: the hub, or another server, cannot be reached or does not answer like one;
   * the service is busy.
   */
  tryAgain: 75,
  /** The hub refuses access: a token or an agreement is missing. */
  access: 77,
  /** Stopped by Ctrl-C or SIGTERM: training has saved, a pull can continue, others have written nothing. */
  interrupted: 130,
  /** The reader of standard output has ended (`graft run … | head`): a shell's code for SIGPIPE. */
  outputClosed: 141,
} as const;

/**
 * Names a parameter of a configuration in a message, with a value if one is given.
 *
 * @param parameter key of the parameter, such as `learningRate`
 */
export type NameParameter = (parameter: string, value?: unknown) => string;

/** A message, or a function that words it with its readers' names for the parameters. */
export type Message = string | ((name: NameParameter) => string);

/** Names parameters as a program writes them: `learningRate`, `ep: cpu`. */
export function asProperty(parameter: string, value?: unknown): string {
  return value === undefined ? parameter : `${parameter}: ${value}`;
}

/** Returns a message as text. */
export function worded(message: Message, name: NameParameter = asProperty): string {
  return typeof message === "string" ? message : message(name);
}

/** Base class of errors whose message gives the problem and the remedy. */
export class GraftError extends Error {
  /** Name of the class. */
  override name = "GraftError";
  readonly #message: Message;

  /**
   * Makes the error.
   *
   * @param message names parameters as a program writes them, unless it is worded otherwise
   * @param exitCode what a program that fails so ends with
   */
  constructor(message: Message, readonly exitCode: number, options?: ErrorOptions) {
    super(worded(message), options);
    this.#message = message;
  }

  /** The message for readers who know parameters by other names, such as flags. */
  worded(name: NameParameter): string {
    return worded(this.#message, name);
  }
}

/** A file's content is invalid; the message names the file and the place in it. */
export class BadInputError extends GraftError {
  /** Name of the class. */
  override name = "BadInputError";
  /**
   * Makes the error.
   *
   * @param message what is wrong and what to do
   */
  constructor(message: Message, options?: ErrorOptions) {
    super(message, EXIT.badInput, options);
  }
}

/** The command line or a configuration file asks for something impossible. */
export class UsageError extends GraftError {
  /** Name of the class. */
  override name = "UsageError";
  /**
   * Makes the error.
   *
   * @param message what is wrong and what to do
   */
  constructor(message: Message, options?: ErrorOptions) {
    super(message, EXIT.usage, options);
  }
}

/** A parameter of a configuration has a value that cannot be used. */
export class ParameterError extends UsageError {
  /** Name of the class. */
  override name = "ParameterError";
  /**
   * Makes the error.
   *
   * @param parameter its key in the configuration, as `learningRate`
   */
  constructor(readonly parameter: string, message: Message, options?: ErrorOptions) {
    super(message, options);
  }
}

/** graft did the work and declines the result; the message gives the numbers. */
export class RefusedError extends GraftError {
  /** Name of the class. */
  override name = "RefusedError";
  /**
   * Makes the error.
   *
   * @param message what is wrong and what to do
   */
  constructor(message: Message, options?: ErrorOptions) {
    super(message, EXIT.refused, options);
  }
}

/** ONNX Runtime is missing, too old, or reported an error. */
export class RuntimeFailure extends GraftError {
  /** Name of the class. */
  override name = "RuntimeFailure";
  /**
   * Makes the error.
   *
   * @param message what is wrong and what to do
   */
  constructor(message: Message, options?: ErrorOptions) {
    super(message, EXIT.runtime, options);
  }
}

/** The operating system refused a read or a write; the message names the path. */
export class StorageError extends GraftError {
  /** Name of the class. */
  override name = "StorageError";
  /**
   * Makes the error.
   *
   * @param message what is wrong and what to do
   */
  constructor(message: Message, options?: ErrorOptions) {
    super(message, EXIT.io, options);
  }
}

/** The hub cannot be reached, or does not answer like a hub; the message names the URL without secrets. */
export class HubError extends GraftError {
  /** Name of the class. */
  override name = "HubError";
  /**
   * Makes the error.
   *
   * @param message what is wrong and what to do
   */
  constructor(message: Message, options?: ErrorOptions) {
    super(message, EXIT.tryAgain, options);
  }
}

/** A server that graft is a client of cannot be reached, or does not answer as it should. */
export class ServerError extends GraftError {
  /** Name of the class. */
  override name = "ServerError";
  /**
   * Makes the error.
   *
   * @param message what is wrong and what to do
   */
  constructor(message: Message, options?: ErrorOptions) {
    super(message, EXIT.tryAgain, options);
  }
}

/** Another process holds a resource that this one needs; another try may succeed. */
export class BusyError extends GraftError {
  /** Name of the class. */
  override name = "BusyError";
  /**
   * Makes the error.
   *
   * @param message what is wrong and what to do
   */
  constructor(message: Message, options?: ErrorOptions) {
    super(message, EXIT.tryAgain, options);
  }
}

/** The hub refuses access; the message says how to get it. */
export class AccessError extends GraftError {
  /** Name of the class. */
  override name = "AccessError";
  /**
   * Makes the error.
   *
   * @param message what is wrong and what to do
   */
  constructor(message: Message, options?: ErrorOptions) {
    super(message, EXIT.access, options);
  }
}

/** Ctrl-C or SIGTERM ended the work before it was done. */
export class InterruptedError extends GraftError {
  /** Name of the class. */
  override name = "InterruptedError";
  /**
   * Makes the error.
   *
   * @param message what is wrong and what to do
   */
  constructor(message: Message, options?: ErrorOptions) {
    super(message, EXIT.interrupted, options);
  }
}

/** Nobody reads the streamed output; no message is printed, because the reader ended it. */
export class OutputClosedError extends GraftError {
  /** Name of the class. */
  override name = "OutputClosedError";
  /** Has a message of its own, which nobody reads. */
  constructor(options?: ErrorOptions) {
    super("standard output is closed", EXIT.outputClosed, options);
  }
}
