/** Checkpoints in a folder: numbered, the newest few kept, each whole or ignored. */
import { join } from "@std/path";
import { BadInputError, StorageError, UsageError, worded } from "../errors.ts";
import type { Tensor } from "../graph/tensor.ts";
import {
  makeDirectory,
  removeDirectory,
  removeLeftovers,
  replaceDirectory,
  replaceFile,
} from "../system/durable_files.ts";
import {
  type Checkpoint,
  type CheckpointSink,
  decodeCheckpoint,
  differences,
  encodeCheckpoint,
  type Identity,
} from "./checkpoint.ts";

const STEP_NAME = /^step-(\d{6,})$/;
/** A text file with the name of the newest checkpoint, for scripts and people. */
const LATEST = "latest";

/** A checkpoint read from disk. */
export interface FoundCheckpoint {
  readonly path: string;
  readonly checkpoint: Checkpoint;
}

/** Whether a folder holds checkpoints, whole or not; changes nothing there. */
export function hasCheckpoints(path: string): boolean {
  return namesIn(path).length > 0;
}

/** A checkpoint by its name. */
export interface NamedCheckpoint {
  readonly path: string;
  readonly step: number;
}

/** The checkpoints in a folder, whole or not, newest first; changes nothing there. */
export function listCheckpoints(path: string): readonly NamedCheckpoint[] {
  return namesIn(path).map((name) => ({ path: join(path, name), step: stepOf(name) }));
}

/**
 * The parameters of a checkpoint.
 *
 * @throws {BadInputError} if it is not whole
 */
export function readParameters(path: string): ReadonlyMap<string, Tensor> {
  return decodeCheckpoint(readFiles(path)).checkpoint.parameters;
}

const stepOf = (name: string) => Number(STEP_NAME.exec(name)![1]);

/** Names of the checkpoints in a folder, newest first; does not check whether they are whole. */
function namesIn(path: string): string[] {
  try {
    return [...Deno.readDirSync(path)]
      .map(({ name }) => name)
      .filter((name) => STEP_NAME.test(name))
      .sort((a, b) => stepOf(b) - stepOf(a));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw new StorageError(`Cannot list ${path}: ${(error as Error).message}`, { cause: error });
  }
}

export class CheckpointDirectory implements CheckpointSink {
  readonly #path: string;
  readonly #identity: Identity;
  readonly #keep: number;

  /**
   * Opens or makes a folder of checkpoints and removes what a killed run left unfinished.
   *
   * @param identity what must be equal for a resume ({@linkcode Identity})
   * @param keep how many of the newest checkpoints to keep
   * @throws {StorageError} naming the path
   */
  constructor(path: string, identity: Identity, keep = 3) {
    if (keep < 1) {
      throw new RangeError(`Checkpoints to keep must be >= 1: current value is ${keep}`);
    }
    this.#path = path;
    this.#identity = identity;
    this.#keep = keep;
    makeDirectory(path);
    removeLeftovers(path);
  }

  /** Removes every checkpoint. */
  clear(): void {
    for (const name of namesIn(this.#path)) removeDirectory(join(this.#path, name));
  }

  /** Saves a checkpoint, points `latest` at it and removes those beyond the number to keep. */
  save(checkpoint: Checkpoint): string {
    const name = `step-${String(checkpoint.state.step).padStart(6, "0")}`;
    const path = join(this.#path, name);
    replaceDirectory(path, encodeCheckpoint(checkpoint, this.#identity));
    replaceFile(join(this.#path, LATEST), new TextEncoder().encode(name + "\n"));
    for (const old of namesIn(this.#path).slice(this.#keep)) removeDirectory(join(this.#path, old));
    return path;
  }

  /**
   * The newest whole checkpoint; `undefined` if there is none.
   *
   * @param warn called for each newer checkpoint that is not whole, with the reason
   * @throws {UsageError} if the checkpoint belongs to a run with other settings or data
   */
  load(warn: (message: string) => void): FoundCheckpoint | undefined {
    for (const name of namesIn(this.#path)) {
      const path = join(this.#path, name);
      try {
        const { checkpoint, identity } = decodeCheckpoint(readFiles(path));
        const changed = differences(identity, this.#identity);
        if (changed.length > 0) {
          throw new UsageError((name) =>
            `Cannot resume from ${path}: ${changed.map((text) => worded(text, name)).join("; ")}`
          );
        }
        return { path, checkpoint };
      } catch (error) {
        if (!(error instanceof BadInputError)) throw error;
        warn(`Ignored the checkpoint ${path}: ${error.message}`);
      }
    }
    return undefined;
  }
}

function readFiles(directory: string): Map<string, Uint8Array> {
  try {
    const entries = [...Deno.readDirSync(directory)].filter((entry) => entry.isFile);
    return new Map(
      entries.map(({ name }) => [name, Deno.readFileSync(join(directory, name))]),
    );
  } catch (error) {
    throw new BadInputError(`it cannot be read: ${(error as Error).message}`, { cause: error });
  }
}
