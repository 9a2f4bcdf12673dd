/**
 * A training whose ranks run on boards of their own, joined by a wire. Each board has a disk of its own, too:
 * the same path leads to another folder on each.
 */
import { join } from "@std/path";
import { commandLine } from "../../../tests/helpers/graft.ts";
import type { Wire } from "../../../tests/helpers/wire.ts";
import { startOverWire } from "../../../tests/helpers/wire_jobs.ts";

/** Milliseconds to wait for the last words of a job: a process that is left over holds its streams open. */
const LAST_WORDS_MS = 500;

/** How a job ended. */
export interface JobEnd {
  readonly code: number;
  /** Both streams of all ranks. */
  readonly output: string;
}

/** Where a job runs. */
export interface JobPlace {
  readonly wire: Wire;
  /** Its disks are in it: `disk` is the first board's, and what others find there. */
  readonly folder: string;
}

/** The folder that every board has for itself. */
export const diskOf = ({ folder }: Pick<JobPlace, "folder">, board = 0) =>
  join(folder, board === 0 ? "disk" : `disk-of-${board}`);

/** A running graft. */
export class Job {
  #output = "";
  #hasEnded = false;
  readonly #child: Deno.ChildProcess;
  /** Fulfilled once the launcher has ended. */
  readonly end: Promise<JobEnd>;

  constructor(place: JobPlace, args: readonly string[]) {
    const { wire, folder } = place;
    for (let board = 0; board < wire.boards; board++) {
      Deno.mkdirSync(diskOf(place, board), { recursive: true });
    }
    // `ip netns exec` has given the board its own view of the file system.
    const mount = `mount --bind ${folder}/disk-of-$board ${diskOf(place)}`;
    this.#child = startOverWire(wire, folder, commandLine(args), mount);
    this.end = this.#follow();
  }

  /** What it printed so far. */
  get output(): string {
    return this.#output;
  }

  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** Waits until it has printed something, or has ended. */
  async until(printed: RegExp): Promise<void> {
    while (!this.#hasEnded && !printed.test(this.#output)) {
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }

  /** Ends the launcher; what it started may go on. */
  abandon(): void {
    if (!this.#hasEnded) this.#child.kill("SIGKILL");
  }

  async #follow(): Promise<JobEnd> {
    const { stdout, stderr, status } = this.#child;
    const read = async (stream: ReadableStream<Uint8Array<ArrayBuffer>>) => {
      for await (const text of stream.pipeThrough(new TextDecoderStream())) this.#output += text;
    };
    const reading = Promise.all([stdout, stderr].map(read));
    const { code } = await status;
    this.#hasEnded = true;
    await Promise.race([reading, new Promise((resolve) => setTimeout(resolve, LAST_WORDS_MS))]);
    return { code, output: this.#output };
  }
}
