/**
 * How much memory runs of a model may take: a few nodes that multiply their input ask for more than any
 * machine has, and files say nothing of it beforehand.
 *
 * 640 MB and 256 times the file are beyond what sound models ask for at any length: what passes between
 * nodes grows with the width of a layer, a file with its square. Where less than that is free, memory
 * and swap, it is what is free.
 */
import { RefusedError } from "../errors.ts";

/** What runs of the smallest model may take. */
const BASE_BYTES = 640e6;
/** And for each byte of its files. */
const PER_BYTE = 256;

/**
 * Bytes that runs of a model may take together.
 *
 * @param modelBytes its files'
 * @param freeBytes memory and swap that this process can still take; absent where unknown
 */
export function runMemory(modelBytes: number, freeBytes = Infinity): number {
  return Math.min(BASE_BYTES + PER_BYTE * modelBytes, freeBytes);
}

/** Limits up to which evaluations share what other runs have, since little stays behind them. */
const SMALL_BYTES = 2e9;
/** Share of the limit that a constant may have which the runtime computes as it makes a session. */
const FOLDED_SHARE = 1 / 8;
/** ONNX Runtime's own bound. */
const MOST_FOLDED_BYTES = 2 ** 30;

/**
 * Session configuration for runs with a limit. A small model's sessions take their memory from the arena
 * that has the limit, whatever they ask for; releases before 1.26 bound no constants.
 */
export function limitedConfig(
  limitBytes: number | undefined,
  config: Readonly<Record<string, string>>,
): Readonly<Record<string, string>> {
  if (limitBytes === undefined) return config;
  const folded = Math.min(MOST_FOLDED_BYTES, Math.floor(FOLDED_SHARE * limitBytes));
  return {
    "optimization.constant_folding_max_output_size_in_bytes": String(folded),
    ...config,
    ...(limitBytes <= SMALL_BYTES ? { "session.use_env_allocators": "1" } : {}),
  };
}

const mega = (bytes: number) => `${Math.ceil(bytes / 1e6)} MB`;

const WHAT_TO_DO = "give it shorter texts or fewer at a time, or free memory; " +
  "a model that asks for so much with short ones is damaged";

/** What to throw where tensors take more than runs may: `Cannot make a float32[4096,4096] tensor`. */
export function tooLarge(what: string, neededBytes: number, limitBytes: number): RefusedError {
  return new RefusedError(
    `${what}: it takes ${mega(neededBytes)} with what is there, and runs of this model may take ${
      mega(limitBytes)
    }: ${WHAT_TO_DO}`,
  );
}

/**
 * The same of what ONNX Runtime's arena says; `undefined` for other messages.
 *
 * @param message of release 1.18 to 1.30
 */
export function arenaRefusal(what: string, message: string): RefusedError | undefined {
  const found = /Available memory of (\d+) is smaller than requested bytes of (\d+)/.exec(message);
  if (found === null) return undefined;
  const [left, asked] = found.slice(1).map((bytes) => mega(Number(bytes)));
  const [, operator, node] = /while running (\S+) node\. Name:'(.*?)'/.exec(message) ?? [];
  const who = operator === undefined ? "it" : node ? `${operator} "${node}"` : `a node ${operator}`;
  return new RefusedError(
    `${what}: ${who} asks for ${asked}, and of what runs of this model may take ${left} are left: ` +
      WHAT_TO_DO,
  );
}
