/**
 * Work on a model's own files, or a client's, in a process that may be ended (`guard_process.ts`): under a
 * deadline and a memory limit. V8 ends a whole process that is out of memory, and a regular expression
 * cannot be interrupted. If a call ends the process, or does not end, that call fails and the next one
 * gets a new process.
 */
import { BadInputError, RuntimeFailure, UsageError } from "../errors.ts";
import { ChildEndedError, TextChild } from "./guard_child.ts";
import { deadlineMs, heapMegabytes, memoryBytes, watched } from "./guard_limits.ts";
import type { Call } from "./guard_protocol.ts";

/** A call was ended because it took too long or too much memory. */
export class OverrunError extends BadInputError {}

/** A limit that a call exceeded. */
export interface Overrun {
  readonly method: Call["method"];
  /** The limit in words, such as `did not end within 1.5 s`. */
  readonly limit: string;
}

export interface GuardedProcessOptions {
  /** The first call of a process. */
  readonly setup: Call;
  /** Size of the files in that call, which its limits depend on. */
  readonly fileBytes: number;
  /** Fixed part of a deadline; default: the usual one. */
  readonly deadlineMs?: number;
  /** Words an exceeded limit for the user. */
  readonly describe: (overrun: Overrun) => string;
  /** Called with the answer to the first call of each process. */
  readonly onSetup?: (answer: unknown) => void;
}

export class GuardedProcess implements Disposable {
  readonly #options: GuardedProcessOptions;
  #child: Promise<TextChild> | undefined;
  /** Settles when the earlier calls are done: only one call uses the process at a time. */
  #turn: Promise<unknown> = Promise.resolve();
  #closed = false;

  constructor(options: GuardedProcessOptions) {
    this.#options = options;
  }

  /** Starts the process now instead of at the first call. */
  async start(): Promise<void> {
    await this.#running();
  }

  /** Ends the process; pending calls are rejected. */
  [Symbol.dispose](): void {
    this.#closed = true;
    this.#child?.then((child) => child[Symbol.dispose](), () => {});
  }

  /** Calls a method; `characters` of its arguments extend the deadline. */
  ask<T>(method: Call["method"], args: readonly unknown[], characters: number): Promise<T> {
    const limitMs = deadlineMs(this.#options.deadlineMs, { characters });
    const answer = this.#turn.then(async () =>
      await this.#within(await this.#running(), { method, args }, limitMs) as T
    );
    this.#turn = answer.catch(() => {});
    return answer;
  }

  /** The process with its files, started if there is none. */
  #running(): Promise<TextChild> {
    if (this.#closed) return Promise.reject(new Error("The text process was closed"));
    return this.#child ??= this.#begin().catch((error) => {
      this.#child = undefined;
      throw error;
    });
  }

  async #begin(): Promise<TextChild> {
    const { setup, fileBytes, deadlineMs: own, onSetup } = this.#options;
    const child = await started(heapMegabytes(fileBytes));
    try {
      const answer = await this.#within(child, setup, deadlineMs(own, { fileBytes }));
      onSetup?.(answer);
      return child;
    } catch (error) {
      child[Symbol.dispose]();
      throw error;
    }
  }

  /** Runs one call of a process, which is ended if it exceeds a limit. */
  async #within(child: TextChild, call: Call, limitMs: number): Promise<unknown> {
    const { setup, fileBytes, describe } = this.#options;
    const limits = { ms: limitMs, memoryBytes: memoryBytes(fileBytes) };
    const watch = watched(child, limits);
    try {
      const { value, error } = await child.ask(call);
      if (error !== undefined) throw restored(error);
      return value;
    } catch (error) {
      if (!(error instanceof ChildEndedError)) throw error;
      child[Symbol.dispose]();
      this.#child = undefined;
      if (this.#closed) throw new Error("The text process was closed");
      const limit = watch.overrun === "time"
        ? `did not end within ${(limits.ms / 1000).toFixed(1)} s`
        : `needs more than ${(limits.memoryBytes / 1e6).toFixed()} MB of memory`;
      const overrun = new OverrunError(describe({ method: call.method, limit }));
      // The next call need not wait for the start; if that fails, the call reports it.
      if (call.method !== setup.method) this.#running().catch(() => {});
      throw overrun;
    } finally {
      watch[Symbol.dispose]();
    }
  }
}

async function started(heapMegabytes: number): Promise<TextChild> {
  try {
    return await TextChild.start(heapMegabytes);
  } catch (cause) {
    if (cause instanceof UsageError) throw cause;
    throw new RuntimeFailure(
      `Cannot start the process that reads text (${Deno.execPath()}): ${(cause as Error).message}`,
      { cause },
    );
  }
}

/** Errors lose their class on the way out of a process. */
function restored({ name, message }: { readonly name: string; readonly message: string }): Error {
  if (name === "BadInputError") return new BadInputError(message);
  if (name === "UsageError") return new UsageError(message);
  const error = new Error(message);
  error.name = name;
  return error;
}
