/** Starts `graft fleet apply` as a process, one at a time, as its unit does under systemd. */
import { TextLineStream } from "@std/streams";
import { EXIT } from "../../errors.ts";
import type { Log } from "../../system/journal_log.ts";
import { startSelf } from "../../system/own_process.ts";

/** Time after which a busy folder is tried again. */
const BUSY_MS = 20_000;

export class Applier implements AsyncDisposable {
  #running: Promise<void> | undefined;
  #child: Deno.ChildProcess | undefined;
  #isWanted = false;
  #isOver = false;
  /** Ends the wait for a busy folder. */
  #wake = () => {};

  /** @param words the flags of `graft fleet apply` */
  constructor(readonly words: readonly string[], readonly log: Log) {}

  /** Whether it was ever started. */
  get isUsed(): boolean {
    return this.#running !== undefined;
  }

  /** Starts it, or once more when it has ended: it may have read what was there before. */
  start(): void {
    this.#isWanted = true;
    if (this.#child === undefined && !this.#isOver) this.#running = this.#run();
  }

  /** Resolves when nothing of it runs. */
  async ended(): Promise<void> {
    let running: Promise<void> | undefined;
    while (running !== this.#running) {
      running = this.#running;
      await running;
    }
  }

  async #run(): Promise<void> {
    while (this.#isWanted && !this.#isOver) {
      this.#isWanted = false;
      const child = this.#child = startSelf(["fleet", "apply", ...this.words], "piped");
      void child.stdout.cancel();
      const lines: ReadableStream<string> = child.stderr.pipeThrough(new TextDecoderStream())
        .pipeThrough(new TextLineStream());
      for await (const line of lines) {
        if (line.trim() !== "") this.log("info", line, { STEP: "apply" });
      }
      const { code } = await child.status;
      if (code === EXIT.tryAgain && !this.#isOver) {
        this.#isWanted = true;
        await this.#pause();
      }
    }
    this.#child = undefined;
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, BUSY_MS);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** Stops it in order: it goes on with the next start. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true;
    this.#wake();
    try {
      this.#child?.kill("SIGTERM");
    } catch {
      // it has ended by itself
    }
    await this.ended();
  }
}
