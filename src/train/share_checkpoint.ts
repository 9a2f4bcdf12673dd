/** Gives the checkpoint that a run resumes from to all its processes: only the first one's board has it. */
import {
  type Checkpoint,
  decodeCheckpoint,
  encodeCheckpoint,
  type Identity,
} from "./checkpoint.ts";
import type { Peers } from "./peers.ts";

/** Bytes of the length of the table of files. */
const LENGTH_BYTES = 4;

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

/** A table of names and sizes as JSON, its length before it, and the files' bytes. */
function packFiles(
  files: ReadonlyMap<string, readonly Uint8Array[]>,
): Uint8Array<ArrayBuffer> {
  const sizeOf = (parts: readonly Uint8Array[]) =>
    parts.reduce((sum, { length }) => sum + length, 0);
  const table = new TextEncoder().encode(
    JSON.stringify([...files].map(([name, parts]) => [name, sizeOf(parts)])),
  );
  const content = [table, ...[...files.values()].flat()];
  const packed = new Uint8Array(LENGTH_BYTES + sizeOf(content));
  new DataView(packed.buffer).setUint32(0, table.length);
  let offset = LENGTH_BYTES;
  for (const part of content) {
    packed.set(part, offset);
    offset += part.length;
  }
  return packed;
}

function unpackFiles(packed: Uint8Array<ArrayBuffer>): Map<string, Uint8Array> {
  const length = new DataView(packed.buffer, packed.byteOffset).getUint32(0);
  let offset = LENGTH_BYTES + length;
  const table: [string, number][] = JSON.parse(
    new TextDecoder().decode(packed.subarray(LENGTH_BYTES, offset)),
  );
  return new Map(table.map(([name, size]) => {
    offset += size;
    return [name, packed.subarray(offset - size, offset)];
  }));
}
