/** Processes that merge the same adapters together: each measures a part, and the first one writes. */
import { createHash } from "node:crypto";
import { join } from "@std/path";
import type { EvaluationPeers } from "../eval/evaluate_each.ts";

/** The processes, seen from one of them. All call the same functions in the same order. */
export interface MergePeers extends EvaluationPeers {
  /** The processes whose digest is not the first one's. */
  differing(digest: string): Promise<readonly number[]>;
  /** Gives all processes the bytes of the first; what others bring is ignored. */
  broadcast(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>>;
}

/** Whether this process is the one that writes. */
export const writes = (peers: MergePeers | undefined): boolean => (peers?.rank ?? 0) === 0;

/** What the first process finds of something that may differ, such as whether time is over. */
export async function asFirst(peers: MergePeers | undefined, own: boolean): Promise<boolean> {
  if (peers === undefined) return own;
  const [found] = await peers.sum([writes(peers) && own ? 1 : 0]);
  return found > 0;
}

/**
 * Gives all processes the files of the first one's folder where theirs differ: processors of other kinds round
 * activations otherwise, and so what is fitted to these.
 */
export async function alignFolder(peers: MergePeers, folder: string): Promise<void> {
  const names = [...Deno.readDirSync(folder)].flatMap(({ name, isFile }) => isFile ? [name] : []);
  for (const name of names.sort()) {
    const path = join(folder, name);
    const bytes = Deno.readFileSync(path);
    const digest = createHash("sha256").update(bytes).digest("hex");
    if ((await peers.differing(digest)).length === 0) continue;
    const first = await peers.broadcast(bytes);
    if (!writes(peers)) Deno.writeFileSync(path, first);
  }
}
