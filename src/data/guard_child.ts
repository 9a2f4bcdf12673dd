/** The parent's end of a text process (`guard_process.ts`). */
import { writeKernelFile } from "../system/kernel_files.ts";
import { processMemory } from "../system/memory.ts";
import { startModule } from "../system/own_process.ts";
import { computedMs } from "../system/process_work.ts";
import { decodeFrames, encodeFrame } from "./guard_frames.ts";
import { type Call, type Reply, TEXT_PROCESS } from "./guard_protocol.ts";

/** The longest accepted answer: sixteen times the one for the longest row. */
const MAX_REPLY_BYTES = 64 << 20;

/** The kernel ends this process first when memory is short, because its work can be repeated. */
const OOM_SCORE_ADJ = "1000";

/** The process ended, or was ended, before it answered. */
export class ChildEndedError extends Error {
  override name = "ChildEndedError";
}

/** Time and memory that a process has used so far. */
export interface ChildUse {
  readonly computedMs: number;
  readonly memoryBytes: number;
}

export class TextChild implements Disposable {
  readonly #process: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array>;
  readonly #replies: AsyncGenerator<unknown>;

  private constructor(heapMegabytes: number) {
    this.#process = startModule({
      url: new URL("./guard_process.ts", import.meta.url),
      name: TEXT_PROCESS,
      // One call of the C library, then it drops the permission.
      denoFlags: [
        "--allow-ffi",
        `--v8-flags=--max-old-space-size=${heapMegabytes},--max-semi-space-size=4,` +
        "--heap-growing-percent=25,--expose-gc",
      ],
    });
    writeKernelFile(`/proc/${this.#process.pid}/oom_score_adj`, OOM_SCORE_ADJ);
    this.#input = this.#process.stdin.getWriter();
    this.#replies = decodeFrames(this.#process.stdout, MAX_REPLY_BYTES);
  }

  /**
   * Starts a process and waits until graft's own code is loaded in it.
   *
   * @param heapMegabytes limit of JavaScript's heap, if V8 can be configured
   * @throws {ChildEndedError} if it ends before that
   */
  static async start(heapMegabytes: number): Promise<TextChild> {
    const child = new TextChild(heapMegabytes);
    try {
      await child.#reply();
      return child;
    } catch (error) {
      child[Symbol.dispose]();
      throw error;
    }
  }

  /**
   * Sends a call and waits for the answer: one call at a time.
   *
   * @throws {ChildEndedError} if the process ends first, by itself or by disposal
   */
  ask(call: Call): Promise<Reply> {
    // If the process has ended, reading its answer reports it.
    this.#input.write(encodeFrame(call)).catch(() => {});
    return this.#reply();
  }

  /** `undefined` once it has ended. */
  use(): ChildUse | undefined {
    const ms = computedMs(this.#process.pid);
    const memory = processMemory(this.#process.pid);
    if (ms === undefined || memory === undefined) return undefined;
    return { computedMs: ms, memoryBytes: memory.anonymousBytes };
  }

  /** Ends the process, whatever it is doing. */
  [Symbol.dispose](): void {
    try {
      this.#process.kill("SIGKILL");
    } catch {
      // It has ended.
    }
    this.#input.abort().catch(() => {});
    this.#replies.return(undefined).catch(() => {});
  }

  async #reply(): Promise<Reply> {
    try {
      const { done, value } = await this.#replies.next();
      if (!done) return value as Reply;
    } catch (cause) {
      throw new ChildEndedError(`The text process gave no answer: ${(cause as Error).message}`, {
        cause,
      });
    }
    throw new ChildEndedError("The text process ended");
  }
}
