/** Rounds of the fleet's server part without Flower's network: `graft_fleet.offline` as a child. */
import { TextLineStream } from "@std/streams";
import { fromFileUrl, join } from "@std/path";
import { python } from "./requirements.ts";

/** The folder of the server part. */
export const FLEET = fromFileUrl(new URL("../../fleet", import.meta.url));

/** A layer of a fleet's adapter; rank 0: a tensor that is trained in full. */
export interface FleetLayer {
  /** PEFT's path of the module. */
  readonly name: string;
  readonly rank: number;
  readonly in: number;
  readonly out: number;
}

/** What a box answers. */
export interface FleetReply {
  readonly box: number;
  readonly layers: readonly FleetLayer[];
  /** The numbers of its array. */
  readonly vector: Float32Array;
  /** `B` if A does not travel. */
  readonly parts?: "B";
  readonly examples: number;
  readonly loss: number;
}

/** What came of a round. */
export interface FleetRound {
  /** Its line in `rounds.jsonl`. */
  readonly record: Readonly<Record<string, unknown>>;
  readonly layers: readonly FleetLayer[];
  /** The numbers of the global adapter's array; absent while there is none. */
  readonly vector?: Float32Array;
}

/** A run of the server part. */
export class FleetRounds implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #lines: ReadableStreamDefaultReader<string>;
  readonly #folder: string;

  /**
   * @param folder where the run keeps its files
   * @param settings as in `--run-config`
   */
  constructor(folder: string, settings: Readonly<Record<string, unknown>>) {
    this.#folder = folder;
    this.#child = new Deno.Command(python(), {
      args: ["-m", "graft_fleet.offline"],
      cwd: FLEET,
      env: { FLWR_TELEMETRY_ENABLED: "0", OPENBLAS_NUM_THREADS: "1" },
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
    }).spawn();
    this.#writer = this.#child.stdin.getWriter();
    this.#lines = this.#child.stdout
      .pipeThrough(new TextDecoderStream())
      .pipeThrough<string>(new TextLineStream())
      .getReader();
    this.#send({ settings: { ...settings, "save-path": join(folder, "run") } });
  }

  /** The adapter that a round left, as PEFT's files. */
  adapterOf(round: number): string {
    return join(this.#folder, "run", `round-${String(round).padStart(4, "0")}`);
  }

  /**
   * Gives the server the replies of a round.
   *
   * @param boxes all that were asked; default: those that reply
   */
  async round(
    replies: readonly FleetReply[],
    boxes = replies.map(({ box }) => box),
  ): Promise<FleetRound> {
    const answers = replies.map(({ vector, examples, loss, ...reply }) => {
      const path = join(this.#folder, `${reply.box}.f32`);
      Deno.writeFileSync(path, new Uint8Array(vector.buffer, vector.byteOffset, vector.byteLength));
      return { ...reply, path, "num-examples": examples, "train-loss": loss };
    });
    this.#send({ boxes, replies: answers });
    const { value, done } = await this.#lines.read();
    if (done) throw new Error("The server part has ended");
    const { record, layers, path } = JSON.parse(value);
    if (path === null) return { record, layers };
    return { record, layers, vector: new Float32Array(Deno.readFileSync(path).buffer) };
  }

  #send(line: unknown): void {
    this.#writer.write(new TextEncoder().encode(`${JSON.stringify(line)}\n`)).catch(() => {});
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writer.close().catch(() => {});
    await this.#lines.cancel();
    await this.#child.status;
  }
}
