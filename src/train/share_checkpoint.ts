/** Gives the checkpoint that a run resumes from to all its processes: only the first one's board has it. */
import {
  type Checkpoint,
  decodeCheckpoint,
  encodeCheckpoint,
  type Identity,
} from "./checkpoint.ts";
import { packFiles, unpackFiles } from "./packed_files.ts";
import type { Peers } from "./peers.ts";

/**
 * @param checkpoint the first process's; ignored in the others
 * @param identity of the run; it was compared
 */
export async function shareCheckpoint(
  peers: Peers,
  checkpoint: Checkpoint | undefined,
  identity: Identity,
): Promise<Checkpoint> {
  const packed = checkpoint === undefined
    ? new Uint8Array()
    : packFiles(encodeCheckpoint(checkpoint, identity));
  const received = await peers.broadcast(packed);
  return checkpoint ?? decodeCheckpoint(unpackFiles(received)).checkpoint;
}
