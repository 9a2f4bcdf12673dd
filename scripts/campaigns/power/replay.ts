/** Puts the states of a recorded run on the disk, one after the other, and has each looked at. */
import { writeTree } from "./folder.ts";
import type { Recording } from "./operations.ts";
import { type CrashState, crashStates, type StateOptions } from "./states.ts";

/** A run to record, and what must hold whenever the power goes. */
export interface PowerCase {
  readonly name: string;
  /**
   * Whether it must be recorded on a disk: verbs give up permissions by which Deno reads folders below
   * `/dev`, where the memory is.
   */
  readonly onDisk?: boolean;
  /** Runs what is to be recorded on a folder of its own. */
  record(root: string): Promise<Recording>;
  /**
   * @param folder holds the state, and may be changed
   * @param said lines that the run had told its user
   * @returns what is wrong with it, `undefined` where nothing is
   */
  check(folder: string, said: readonly string[]): Promise<string | undefined> | string | undefined;
}

export interface Replayed {
  readonly name: string;
  readonly operations: number;
  readonly states: number;
  readonly failures: number;
  /** The first of each kind. */
  readonly faults: readonly string[];
}

export interface ReplayOptions extends StateOptions {
  /** Most states to look at; of more, as many at even distances. */
  readonly most?: number;
}

/** Records a case and looks at what power losses would leave of it. */
export async function replay(
  { name, onDisk = false, record, check }: PowerCase,
  { most = Infinity, ...options }: ReplayOptions,
): Promise<Replayed> {
  const recording = await inFolder(onDisk ? {} : inMemory(), record);
  const states = () => crashStates(recording, options);
  // Counted first: all at once would take gigabytes.
  const all = states().reduce((count) => count + 1, 0);
  const count = Math.min(most, all);
  const faults = new Map<string, string>();
  let failures = 0;
  await inFolder(inMemory(), async (folder) => {
    for (const { after, kept, tree, said } of evenly(states(), all, count)) {
      writeTree(folder, tree);
      const fault = await faultOf(() => check(folder, said));
      if (fault === undefined) continue;
      failures++;
      // Faults that differ in numbers alone are of one kind.
      const kind = fault.replaceAll(/[0-9a-f]{6,}|\d+/g, "#");
      if (!faults.has(kind)) {
        faults.set(kind, `after ${after} operations with ${kept} kept: ${fault}`);
      }
    }
  });
  const { operations } = recording;
  return {
    name,
    operations: operations.length,
    states: count,
    failures,
    faults: [...faults.values()],
  };
}

/** So many of all states, at even distances. */
function* evenly(
  states: Iterable<CrashState>,
  all: number,
  count: number,
): Generator<CrashState> {
  let [index, chosen] = [0, 0];
  for (const state of states) {
    if (index++ !== Math.floor(chosen * all / count)) continue;
    yield state;
    chosen++;
  }
}

/** Where syncs take no time. */
function inMemory(): Deno.MakeTempOptions {
  try {
    return Deno.statSync("/dev/shm").isDirectory ? { dir: "/dev/shm" } : {};
  } catch {
    return {};
  }
}

async function inFolder<T>(
  options: Deno.MakeTempOptions,
  body: (path: string) => Promise<T>,
): Promise<T> {
  const path = await Deno.makeTempDir({ prefix: "graft-power-", ...options });
  try {
    return await body(path);
  } finally {
    await Deno.remove(path, { recursive: true });
  }
}

async function faultOf(check: () => ReturnType<PowerCase["check"]>): Promise<string | undefined> {
  try {
    return await check();
  } catch (error) {
    return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  }
}
