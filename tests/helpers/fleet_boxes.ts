/** Boxes of a fleet in the process of the tests. */
import { join } from "@std/path";
import { FleetHttp } from "../../src/fleet/flower/fleet_http.ts";
import { FleetNode } from "../../src/fleet/flower/fleet_node.ts";
import type { BoxSettings } from "../../src/fleet/rounds/box_config.ts";
import { keepIdentity } from "../../src/fleet/rounds/node_files.ts";
import { serveRounds } from "../../src/fleet/rounds/serve_rounds.ts";
import { Spool } from "../../src/fleet/rounds/spool.ts";
import { workOnTask } from "../../src/fleet/rounds/work_on_task.ts";
import { pairs } from "./training_runs.ts";

/** A box that asks often and trains here. */
export class FleetBox implements AsyncDisposable {
  readonly lines: string[] = [];
  readonly #ending = new AbortController();
  readonly #http: FleetHttp;
  readonly #served: Promise<void>;

  constructor(folder: string, url: string, settings: BoxSettings) {
    Deno.mkdirSync(folder, { recursive: true });
    const identity = keepIdentity(folder);
    const onNote = (line: string) => this.lines.push(line);
    this.#http = new FleetHttp({ url, identity, onRetry: onNote });
    const node = new FleetNode(this.#http, { identity, onNote, pollMs: 100 });
    const spool = new Spool(folder);
    const { signal } = this.#ending;
    const options = {
      ...{ spool, node, mostBytes: 1 << 24, signal },
      log: (_: string, line: string) => void this.lines.push(line),
      work: async (signal: AbortSignal) => {
        await workOnTask(spool, () => settings, { signal, savePath: join(folder, "global") });
      },
    };
    this.#served = node.join(signal).then(() => serveRounds(options));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending.abort(new Error("The box is switched off"));
    await this.#served;
    this.#http[Symbol.dispose]();
  }
}

/** Rows of a box, and rows that it holds out. */
export function rowsIn(folder: string, rows: number): string {
  Deno.mkdirSync(folder);
  Deno.writeTextFileSync(join(folder, "train.jsonl"), pairs(rows));
  Deno.writeTextFileSync(join(folder, "valid.jsonl"), pairs(4));
  return folder;
}

/** Lines of the server's record so far. */
export function recordOf(run: string): Record<string, unknown>[] {
  try {
    const text = Deno.readTextFileSync(join(run, "rounds.jsonl"));
    return text.trim().split("\n").map((line) => JSON.parse(line));
  } catch {
    return []; // not begun
  }
}
