/**
 * Checkpoints as bytes: a few files and a manifest of their digests.
 *
 * | file | content |
 * |---|---|
 * | `adapter_model.safetensors` | the parameters |
 * | `optimizer.safetensors` | the moments, as `<parameter>.<slot>` |
 * | `previous.safetensors` | the parameters from before the last update, restored if the next loss is not finite |
 * | `best.safetensors` | parameters of the best evaluation, if there was one |
 * | `state.json` | step, data position, random state, best, number of updates, identity |
 * | `manifest.json` | size and SHA-256 of each of the others |
 */
import { keyOfFlag } from "../config/parameter.ts";
import { isObject } from "../data/json.ts";
import { BadInputError, type Message } from "../errors.ts";
import type { Tensor } from "../graph/tensor.ts";
import { digestOf } from "../lora/digest.ts";
import { ownValue } from "../records.ts";
import { decodeSafetensors, safetensorsParts } from "../safetensors/mod.ts";
import type { OptimizerState } from "./optimizer.ts";
import type { TrainState } from "./state.ts";

/** Raised when a reader of the old format could not read the new. */
const CHECKPOINT_FORMAT_VERSION = 1;

/** What must be equal for a checkpoint to be resumed: seed, data digest, batch size… */
export type Identity = Readonly<Record<string, string | number>>;

/**
 * The state of a run between two steps. The tensors of one that is being saved are views of the runtime's.
 */
export interface Checkpoint {
  readonly state: TrainState;
  readonly parameters: ReadonlyMap<string, Tensor>;
  readonly optimizer: OptimizerState;
  /** Parameters of the best evaluation. */
  readonly best?: ReadonlyMap<string, Tensor>;
}

/** Where the loop saves checkpoints. */
export interface CheckpointSink {
  /**
   * Has finished with the checkpoint when it returns: the next step overwrites its tensors.
   *
   * @returns the path, for messages
   */
  save(checkpoint: Checkpoint): string;
}

const PARAMETERS = "adapter_model.safetensors";
const MOMENTS = "optimizer.safetensors";
const PREVIOUS = "previous.safetensors";
const BEST = "best.safetensors";
const STATE = "state.json";
const MANIFEST = "manifest.json";

type Files = ReadonlyMap<string, Uint8Array>;

const json = (value: unknown) => new TextEncoder().encode(JSON.stringify(value, null, 2) + "\n");

/**
 * The files of a checkpoint, the manifest last. Each is given in consecutive parts: joined, they would take
 * as much memory again as all that the optimiser holds.
 */
export function encodeCheckpoint(
  { state, parameters, optimizer, best }: Checkpoint,
  identity: Identity,
): Map<string, readonly Uint8Array[]> {
  const version = { format_version: CHECKPOINT_FORMAT_VERSION };
  const files = new Map([
    [PARAMETERS, safetensorsParts(parameters)],
    [MOMENTS, safetensorsParts(optimizer.moments)],
    [STATE, [json({ ...version, identity, updates: optimizer.updates, state })]],
  ]);
  const { previous } = optimizer;
  if (previous !== undefined) files.set(PREVIOUS, safetensorsParts(previous));
  if (best !== undefined) files.set(BEST, safetensorsParts(best));
  const entries = [...files].map(([name, parts]) => {
    const sizeBytes = parts.reduce((sum, { byteLength }) => sum + byteLength, 0);
    return [name, { size_bytes: sizeBytes, digest: digestOf(...parts) }] as const;
  });
  files.set(MANIFEST, [json({ ...version, files: Object.fromEntries(entries) })]);
  return files;
}

function parseJson(files: Files, name: string): Record<string, unknown> {
  const bytes = files.get(name);
  if (bytes === undefined) throw new BadInputError(`${name} is missing`);
  try {
    const value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    if (typeof value !== "object" || value === null) throw new SyntaxError("it is no object");
    if (value.format_version === CHECKPOINT_FORMAT_VERSION) return value;
    throw new SyntaxError(
      `format_version must be ${CHECKPOINT_FORMAT_VERSION}: current value is ${value.format_version}`,
    );
  } catch (error) {
    throw new BadInputError(`${name} cannot be read: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

/**
 * Checks every file of a checkpoint against the manifest.
 *
 * @throws {BadInputError} naming the first file that is missing, changed or not in the manifest
 */
function verifyManifest(files: Files): void {
  const { files: named } = parseJson(files, MANIFEST);
  if (!isObject(named)) throw new BadInputError(`${MANIFEST} has no list of files`);
  const entries = new Map(Object.entries(named));
  for (const [name, entry] of entries) {
    const bytes = files.get(name);
    if (bytes === undefined) throw new BadInputError(`${name} is missing`);
    if (!isObject(entry) || digestOf(bytes) !== entry.digest) {
      throw new BadInputError(`${name} is not what ${MANIFEST} says: its SHA-256 differs`);
    }
  }
  for (const name of [PARAMETERS, MOMENTS, STATE, PREVIOUS, BEST]) {
    if (files.has(name) && !entries.has(name)) {
      throw new BadInputError(`${name} is not in ${MANIFEST}: nothing tells whether it is whole`);
    }
  }
}

/**
 * Reads a checkpoint's files.
 *
 * @throws {BadInputError} if the manifest does not verify or a file cannot be read, naming it
 */
export function decodeCheckpoint(
  files: Files,
): { readonly checkpoint: Checkpoint; readonly identity: Identity } {
  verifyManifest(files);
  const { identity, updates, state } = parseJson(files, STATE);
  if (!isObject(identity) || !isObject(state) || typeof updates !== "number") {
    throw new BadInputError(`${STATE} has no identity, state or number of updates`);
  }
  const tensors = (name: string) => {
    const bytes = files.get(name);
    if (bytes === undefined) throw new BadInputError(`${name} is missing`);
    return decodeSafetensors(bytes, { file: name }).tensors;
  };
  const checkpoint: Checkpoint = {
    state: state as unknown as TrainState,
    parameters: tensors(PARAMETERS),
    optimizer: {
      updates,
      moments: tensors(MOMENTS),
      previous: files.has(PREVIOUS) ? tensors(PREVIOUS) : undefined,
    },
    best: files.has(BEST) ? tensors(BEST) : undefined,
  };
  return { checkpoint, identity: identity as Identity };
}

/** Clauses on what differs between a checkpoint's run and this one; empty if nothing does. */
export function differences(saved: Identity, now: Identity): readonly Message[] {
  return [...new Set([...Object.keys(saved), ...Object.keys(now)])]
    .map((key) => [key, ownValue(saved, key), ownValue(now, key)] as const)
    .filter(([, before, after]) => before !== after)
    .map(([key, before = "unset", after = "unset"]) => {
      const values = `was ${before}: current value is ${after}`;
      // A checkpoint stores the parameters of the run under the names of their flags.
      if (!key.startsWith("--")) return `${key} ${values}`;
      return (name) => `${name(keyOfFlag(key))} ${values}`;
    });
}
