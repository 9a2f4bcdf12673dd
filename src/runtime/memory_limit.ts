/**
 * Limits the memory of a model's runs: a few nodes that multiply their input need more than any machine
 * has, and the file does not show it beforehand.
 *
 * 640 MB plus 256 times the file are more than valid models need at any length: tensors between nodes
 * grow with the width of a layer, a file with its square. If less memory and swap is free, the limit is
 * what is free.
 */
import { RefusedError } from "../errors.ts";

/** Limit for the smallest model. */
const BASE_BYTES = 640e6;
/** Additional bytes for each byte of its files. */
const PER_BYTE = 256;

/**
 * Most bytes of all runs of a model.
 *
 * @param modelBytes size of its files
 * @param freeBytes memory and swap that this process can still allocate; absent if unknown
 */
export function runMemory(modelBytes: number, freeBytes = Infinity): number {
  return Math.min(BASE_BYTES + PER_BYTE * modelBytes, freeBytes);
}

/** Largest limit with which evaluations use the shared arena, because they leave little in it. */
const SMALL_BYTES = 2e9;
/** Share of the limit for a constant that the runtime computes when it creates a session. */
const FOLDED_SHARE = 1 / 8;
/** ONNX Runtime's own limit. */
const MOST_FOLDED_BYTES = 2 ** 30;

/**
 * Session configuration for runs with a limit. A small model's sessions allocate from the arena with the
 * limit, whatever their own options; releases before 1.26 do not limit constants.
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
  "a model that needs so much for short ones is damaged";

/** The error for tensors beyond the limit: `Cannot make a float32[4096,4096] tensor`. */
export function tooLarge(what: string, neededBytes: number, limitBytes: number): RefusedError {
  return new RefusedError(
    `${what}: runs of this model would then need ${mega(neededBytes)}, and their limit is ${
      mega(limitBytes)
    }: ${WHAT_TO_DO}`,
  );
}

/**
 * The same for a message of ONNX Runtime's arena; `undefined` for other messages.
 *
 * @param message of release 1.18 to 1.30
 */
export function arenaRefusal(what: string, message: string): RefusedError | undefined {
  const found = /Available memory of (\d+) is smaller than requested bytes of (\d+)/.exec(message);
  if (found === null) return undefined;
  const [left, needed] = found.slice(1).map((bytes) => mega(Number(bytes)));
  const [, operator, node] = /while running (\S+) node\. Name:'(.*?)'/.exec(message) ?? [];
  const who = operator === undefined ? "it" : node ? `${operator} "${node}"` : `a node ${operator}`;
  return new RefusedError(
    `${what}: ${who} needs ${needed}, and ${left} of the memory for this model's runs are left: ` +
      WHAT_TO_DO,
  );
}
