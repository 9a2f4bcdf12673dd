/** PROMISES 8 and what belongs to it: a real service among clients that do not behave, and one that does. */
import {
  askOnce,
  type Behaviour,
  crowd,
  dripping,
  leaving,
  silent,
  sleep,
  unreading,
} from "./line_clients.ts";

export interface CrowdFigures {
  readonly what: string;
  readonly clients: number;
  readonly seconds: number;
  /** Connections that the crowd made, what it was told, and the longest that the service bore one, in seconds. */
  readonly connections: number;
  readonly told: Readonly<Record<string, number>>;
  readonly longestSeconds: number;
  /** Of the client that behaves: answers, times that it was told to try again, and what it waited. */
  readonly answers: number;
  readonly busy: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly faults: readonly string[];
}

interface Kind {
  readonly clients: number;
  readonly behaviour: Behaviour;
  /** When they come again; default: a moment later. */
  readonly againMs?: number;
  /** Whether the crowd asks as much as can be answered, so that others may be told to try again. */
  readonly asks?: boolean;
}

const AGAIN_MS = 2000;

const KINDS: Readonly<Record<string, Kind>> = {
  "nobody else": { clients: 0, behaviour: silent },
  "a byte every so often": { clients: 100, behaviour: dripping(200) },
  "a byte every so often, more than may be": { clients: 200, behaviour: dripping(200) },
  "silent": { clients: 600, behaviour: silent },
  "silent, and here again at once": { clients: 160, behaviour: silent, againMs: 0 },
  "never reading": { clients: 8, behaviour: unreading("hi", 100), asks: true },
  "leaving before the answer": { clients: 8, behaviour: leaving("hello"), asks: true },
};

/** No answer may take longer, whatever the others do. */
const MOST_MS = 10_000;

/**
 * Has a client ask once after the other among each kind of crowd.
 *
 * @param share of the clients that each kind has
 */
export async function* amongCrowds(
  path: string,
  seconds: number,
  share = 1,
): AsyncGenerator<CrowdFigures> {
  for (const [what, { clients: all, behaviour, againMs, asks }] of Object.entries(KINDS)) {
    const clients = Math.ceil(all * share);
    const waits: number[] = [];
    const faults: string[] = [];
    let busy = 0;
    const crowded = crowd(path, clients, behaviour, againMs ?? AGAIN_MS);
    try {
      const end = performance.now() + seconds * 1000;
      while (performance.now() < end) {
        const begin = performance.now();
        const answer = await askOnce(path, "hello").catch((error: Error) => error);
        if (answer instanceof Error) faults.push(answer.message);
        else if (answer.error?.status === "busy") busy++;
        else if (answer.error !== undefined) faults.push(JSON.stringify(answer));
        else waits.push(performance.now() - begin);
        await sleep(10);
      }
    } finally {
      await crowded[Symbol.asyncDispose]();
    }
    waits.sort((a, b) => a - b);
    const at = (share: number) => Math.round(waits[Math.floor(share * (waits.length - 1))]);
    if (waits.length === 0) faults.push("nothing was answered");
    else if (waits.at(-1)! > MOST_MS) faults.push(`an answer took ${waits.at(-1)} ms`);
    if (busy > 0 && !asks) faults.push(`${busy} times busy`);
    yield {
      ...{ what, clients, seconds, connections: crowded.connections },
      told: Object.fromEntries(crowded.told),
      longestSeconds: Math.round(crowded.longestMs / 100) / 10,
      ...{ answers: waits.length, busy, p50Ms: at(0.5), p99Ms: at(0.99) },
      faults: [...new Set(faults)],
    };
  }
}
