/**
 * Many nodes of a SuperLink in one process, with adapters that are made up: `clients.ts URL COUNT NUMBERS`.
 *
 * Each is graft's own client with a key and a connection of its own. A line on standard input is answered with
 * what happened since the one before, as JSON; `restart` begins to count the nodes that are heard anew.
 */
import { TextLineStream } from "@std/streams";
import { FleetHttp } from "../../../src/fleet/flower/fleet_http.ts";
import { FleetNode } from "../../../src/fleet/flower/fleet_node.ts";
import { NodeIdentity } from "../../../src/fleet/flower/identity.ts";
import type { MessageHeader } from "../../../src/fleet/flower/message.ts";
import type { Records } from "../../../src/fleet/flower/records.ts";
import { formatLayers } from "../../../src/fleet/rounds/layout.ts";

/** What a process of clients has seen since it was last asked. */
export interface ClientFigures {
  /** Nodes that have joined. */
  readonly joined: number;
  /** Milliseconds of each request that was answered, by the end of its path. */
  readonly answered: readonly number[];
  /** Requests that failed, or were answered with an error of the server. */
  readonly failed: number;
  /** Nodes that were answered when they asked for messages, since the last restart. */
  readonly heard: number;
  readonly replies: number;
}

const [url, count, numbers] = [Deno.args[0], Number(Deno.args[1]), Number(Deno.args[2])];
const RANK = 4;
const SIDE = numbers / (2 * RANK);
const LAYERS = [{ name: "model.layers.0.self_attn.q_proj", rank: RANK, in: SIDE, out: SIDE }];

let joined = 0;
let answered: number[] = [];
let failed = 0;
let replies = 0;
let heard = new Set<number>();

/** Times requests where they leave, without the waits between tries. */
const plainFetch = globalThis.fetch;
globalThis.fetch = async (input, init) => {
  const began = performance.now();
  try {
    const response = await plainFetch(input, init);
    if (response.status >= 500) failed++;
    else answered.push(performance.now() - began);
    return response;
  } catch (error) {
    failed++;
    throw error;
  }
};

function contentFor(index: number): Records {
  const vector = Float32Array.from({ length: numbers }, (_, i) => Math.sin(index + i));
  return {
    configs: new Map([["layout", new Map([["layers", formatLayers(LAYERS)]])]]),
    arrays: new Map([["adapter", new Map([["adapter", vector]])]]),
    metrics: new Map([["metrics", new Map([["num-examples", 10], ["train-loss", 1.5]])]]),
  };
}

const WANTED = { configs: ["config", "layout"], arrays: new Map([["adapter", ["adapter"]]]) };

async function serve(index: number): Promise<never> {
  const identity = NodeIdentity.generate();
  const http = new FleetHttp({ url, identity });
  const node = new FleetNode(http, { identity });
  await node.join();
  joined++;
  for (;;) {
    try {
      const header: MessageHeader | undefined = await node.receive();
      heard.add(index);
      if (header !== undefined) {
        await node.fetch(header, WANTED, 1 << 26);
        await node.confirm(header);
        await node.reply(header, contentFor(index), { made: Date.now() / 1000, seconds: 1 });
        replies++;
        continue;
      }
    } catch {
      // The run has ended, say.
    }
    await new Promise((resolve) => setTimeout(resolve, node.pauseMs()));
  }
}

for (let index = 0; index < count; index++) void serve(index);
const lines = Deno.stdin.readable.pipeThrough(new TextDecoderStream())
  .pipeThrough<string>(new TextLineStream());
for await (const line of lines) {
  if (line === "restart") heard = new Set();
  const figures: ClientFigures = { joined, answered, failed, heard: heard.size, replies };
  console.log(JSON.stringify(figures));
  [answered, failed, replies] = [[], 0, 0];
}
Deno.exit(0);
