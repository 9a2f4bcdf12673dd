/** A verb as a process that gives way to everything else, and if asked stands still for requests. */
import { setPriority } from "node:os";
import { TextLineStream } from "@std/streams";
import { EXIT } from "../errors.ts";
import { writeKernelFile } from "../system/kernel_files.ts";
import { startSelf } from "../system/own_process.ts";

/** The kernel ends it first when memory is short: it can continue, or begin again. */
const OOM_SCORE_ADJ = "1000";
const LOWEST_PRIORITY = 19;
/** Prefix of the line in which a verb gives its error (cli/terminal/exit.ts). */
const ERROR = "graft: ";
/** How often it is told to wait for requests, or to go on. */
const LOOK_MS = 100;
/** Time without requests after which it goes on. */
const QUIET_MS = 1000;

/** How a process ended. */
export type ProcessEnd =
  | { readonly ended: "done" }
  /** It was told to. */
  | { readonly ended: "stopped" }
  /** By the kernel or somebody else. */
  | { readonly ended: "killed"; readonly why: string }
  | { readonly ended: "failed"; readonly why: string };

export interface ProcessSurroundings {
  /** Whether requests are in work, while which it stands still; default never. */
  readonly isBusy?: () => boolean;
  /** Told of each line of standard error. */
  readonly onLine?: (line: string) => void;
}

export class YieldingProcess {
  readonly #child: Deno.ChildProcess;
  readonly #timer: ReturnType<typeof setInterval>;
  #busyAt = -Infinity;
  #stopping = false;
  #paused = false;
  /** Resolves when it has ended. */
  readonly ended: Promise<ProcessEnd>;

  /** @param args verb and flags */
  constructor(args: readonly string[], { isBusy = () => false, onLine }: ProcessSurroundings = {}) {
    this.#child = startSelf(args, "piped");
    writeKernelFile(`/proc/${this.#child.pid}/oom_score_adj`, OOM_SCORE_ADJ);
    try {
      setPriority(this.#child.pid, LOWEST_PRIORITY);
    } catch {
      // It may have ended already.
    }
    this.#timer = setInterval(() => {
      const now = performance.now();
      if (isBusy()) this.#busyAt = now;
      this.#pause(!this.#stopping && now - this.#busyAt < QUIET_MS);
    }, LOOK_MS);
    this.ended = this.#watch(onLine).finally(() => clearInterval(this.#timer));
  }

  /** Ends it as Ctrl-C does. */
  stop(): void {
    this.#stopping = true;
    this.#pause(false);
    this.#signal("SIGTERM");
  }

  /** Stops or continues it where it is, within a moment; its memory stays. */
  #pause(paused: boolean): void {
    if (paused === this.#paused) return;
    this.#paused = paused;
    this.#signal(paused ? "SIGSTOP" : "SIGCONT");
  }

  #signal(signal: Deno.Signal): void {
    try {
      this.#child.kill(signal);
    } catch {
      // It has ended by itself.
    }
  }

  async #watch(onLine: (line: string) => void = () => {}): Promise<ProcessEnd> {
    const drained = this.#child.stdout.pipeTo(new WritableStream()).catch(() => {});
    let error: string | undefined;
    const lines: ReadableStream<string> = this.#child.stderr.pipeThrough(new TextDecoderStream())
      .pipeThrough(new TextLineStream());
    for await (const line of lines) {
      if (line.trim() === "") continue;
      if (line.startsWith(ERROR)) error = line.slice(ERROR.length);
      onLine(line);
    }
    const { code, signal } = await this.#child.status;
    await drained;
    if (code === EXIT.ok && signal === null) return { ended: "done" };
    if (this.#stopping || code === EXIT.interrupted) return { ended: "stopped" };
    if (signal !== null) return { ended: "killed", why: `it was killed by ${signal}` };
    return { ended: "failed", why: error ?? `it ended with ${code}` };
  }
}
