/** States that a power loss may leave of a recorded run. */
import { createHash } from "node:crypto";
import { Random } from "../../../src/random.ts";
import { Disk, type Kept } from "./disk.ts";
import { digestOfTree, type Recording, type Tree } from "./operations.ts";

export interface CrashState {
  /** How many operations were asked for. */
  readonly after: number;
  /** What of the unsynced ones the disk holds, in words. */
  readonly kept: string;
  readonly tree: Tree;
  /** Whole lines that the run had told its user by then. */
  readonly said: readonly string[];
}

export interface StateOptions {
  readonly seed: number;
  /** Random choices at each point, of each kind. */
  readonly random?: number;
  /** Unsynced changes that are kept, and lost, alone at each point. */
  readonly alone?: number;
}

const always = () => true;
const never = () => false;

/**
 * States after each operation: with all that was not synced and with none of it, with names and
 * without contents and the other way round, with one change less or one only, with names up to some
 * point in time, and with random choices. States that are equal to a reader come once.
 */
export function* crashStates(
  recording: Recording,
  { seed, random = 6, alone = 8 }: StateOptions,
): Generator<CrashState> {
  const disk = new Disk(recording);
  const seen = new Set<string>();
  const chance = Random.fromSeed(seed);
  let spoken = "";
  for (let after = 0; after <= recording.operations.length; after++) {
    const last = recording.operations[after - 1];
    if (last?.kind === "say") spoken += last.text;
    const said = spoken.split("\n").slice(0, -1);
    for (const [kept, choice] of choicesAt(disk.unsynced(after), chance, random, alone)) {
      const tree = disk.after(after, choice);
      const key = createHash("sha256").update(`${said.length}\n${digestOfTree(tree)}`).digest(
        "hex",
      );
      if (seen.has(key)) continue;
      seen.add(key);
      yield { after, kept, tree, said };
    }
  }
}

function* choicesAt(
  unsynced: readonly number[],
  chance: Random,
  random: number,
  alone: number,
): Generator<[string, Kept]> {
  yield ["all", { entry: always, size: always, block: always }];
  if (unsynced.length === 0) return;
  yield ["nothing", { entry: never, size: never, block: never }];
  yield ["names", { entry: always, size: never, block: never }];
  yield ["names and sizes", { entry: always, size: always, block: never }];
  yield ["contents", { entry: never, size: always, block: always }];
  for (let i = 0; i < Math.min(alone, unsynced.length); i++) {
    // The last ones and random earlier ones.
    const one = i < alone / 2 ? unsynced.at(-1 - i)! : unsynced[chance.next() % unsynced.length];
    const only = (operation: number) => operation === one;
    const but = (operation: number) => operation !== one;
    yield [`operation ${one} only`, { entry: only, size: only, block: only }];
    yield [`all but operation ${one}`, { entry: but, size: but, block: but }];
  }
  for (let i = 0; i < random; i++) {
    const until = unsynced[chance.next() % unsynced.length];
    const size = chance.next() % 2 === 0 ? always : coin(chance);
    yield [`names until operation ${until}`, {
      entry: (operation) => operation <= until,
      size,
      block: coin(chance),
    }];
    yield ["a random choice", { entry: coin(chance), size: coin(chance), block: coin(chance) }];
  }
}

/** A choice that is the same whenever it is asked for. */
function coin(chance: Random): (operation: number, block?: number) => boolean {
  const seed = chance.next();
  return (operation, block = 0) =>
    Random.fromSeed(seed ^ Math.imul(operation + 1, 0x9e3779b1) ^ Math.imul(block + 1, 0x85ebca6b))
          .next() % 2 === 0;
}
