/** How long a compiled graft takes to start. */
import { join } from "@std/path";
import { median } from "../../src/statistics.ts";
import { type Binary, printed } from "../../tests/helpers/binary.ts";

const SENTENCE = ["run", "default", "turn on the light"];

/** Seconds of each start. */
export interface Starts {
  /** To the end of `--version`. */
  readonly version: readonly number[];
  /** To the vector of a sentence by the embedded model. */
  readonly sentence: readonly number[];
  /** The same in an empty cache: ONNX Runtime is unpacked. */
  readonly first: readonly number[];
}

/** @param rounds starts of each kind, and first starts */
export async function measureStarts(
  binary: Binary,
  rounds: { readonly each: number; readonly first: number },
  env: Readonly<Record<string, string>> = {},
): Promise<Starts> {
  const folder = await Deno.makeTempDir({ prefix: "graft-figures-" });
  const seconds = async (cache: string, args: readonly string[]): Promise<number> => {
    const start = performance.now();
    await printed(binary, args, { env: { GRAFT_CACHE_DIR: join(folder, cache), ...env } });
    return (performance.now() - start) / 1000;
  };
  const repeat = async (count: number, start: (round: number) => Promise<number>) => {
    const times: number[] = [];
    for (let round = 0; round < count; round++) times.push(await start(round));
    return times;
  };
  try {
    const first = await repeat(rounds.first, (round) => seconds(`${round}`, SENTENCE));
    const version = await repeat(rounds.each, () => seconds("0", ["--version"]));
    const sentence = await repeat(rounds.each, () => seconds("0", SENTENCE));
    return { version, sentence, first };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** `median 0.123 s, fastest 0.110, slowest 0.140`. */
export function spread(times: readonly number[]): string {
  return `median ${median(times).toFixed(3)} s, fastest ${Math.min(...times).toFixed(3)}, ` +
    `slowest ${Math.max(...times).toFixed(3)}`;
}
