/**
 * What a disk holds after the power went: a model of a journalling file system that keeps all that
 * was synced and, of the rest, whatever it is told to.
 *
 * | unsynced | on its own |
 * |---|---|
 * | a name entered, taken away, or moved | kept or lost; a move is one change, also between folders |
 * | a file's size, by each write or cut | kept or lost |
 * | each block of 512 bytes of a write | kept or lost; what was lost and lies within the size is zeros |
 *
 * Syncing a file does not sync its name, nor syncing a folder its own name: POSIX promises neither. A
 * block of 512 bytes is the least that disks write in one piece. Changes that were kept are made in
 * the order in which they were asked for.
 */
import { createHash } from "node:crypto";
import type { Entry, Leaf, NodeId, Operation, Recording, Tree } from "./operations.ts";
import { ROOT } from "./operations.ts";

export const BLOCK = 512;

/** Which changes that were not synced a disk holds, by the operation's place in the recording. */
export interface Kept {
  entry(operation: number): boolean;
  size(operation: number): boolean;
  block(operation: number, block: number): boolean;
}

/** Bytes of contents that are kept to be asked for again. */
const MOST_KEPT_BYTES = 1 << 26;

type Content = { readonly bytes: Uint8Array; readonly digest: string };

/** Folders of an entry's operation; any of them being synced syncs it. */
function foldersOf(operation: Operation): readonly NodeId[] {
  if (operation.kind === "move") return [operation.from.folder, operation.to.folder];
  return operation.kind === "enter" || operation.kind === "leave" ? [operation.at.folder] : [];
}

function add(lists: Map<NodeId, number[]>, node: NodeId, operation: number): void {
  const list = lists.get(node);
  if (list === undefined) lists.set(node, [operation]);
  else list.push(operation);
}

export class Disk {
  readonly #recording: Recording;
  /** Of each operation the first sync that covers it; infinite where there is none. */
  readonly #syncedBy: readonly number[];
  /** Of each file its writes and cuts. */
  readonly #changes = new Map<NodeId, number[]>();
  /** Contents by node and by what of its changes was kept. */
  readonly #contents = new Map<string, Content>();
  #contentBytes = 0;

  constructor(recording: Recording) {
    this.#recording = recording;
    const open = new Map<NodeId, number[]>();
    const syncedBy = recording.operations.map(() => Infinity);
    for (const [i, operation] of recording.operations.entries()) {
      if (operation.kind === "sync") {
        const nodes = operation.node === undefined ? [...open.keys()] : [operation.node];
        for (const node of nodes) {
          for (const j of open.get(node) ?? []) syncedBy[j] = Math.min(syncedBy[j], i);
          open.delete(node);
        }
        continue;
      }
      const touched = operation.kind === "write" || operation.kind === "resize"
        ? [operation.node]
        : foldersOf(operation);
      for (const node of touched) add(open, node, i);
      if (operation.kind === "write" || operation.kind === "resize") {
        add(this.#changes, operation.node, i);
      }
    }
    this.#syncedBy = syncedBy;
  }

  /** Operations of the first `length` that no sync among those covers. */
  unsynced(length: number): readonly number[] {
    return this.#recording.operations.slice(0, length).flatMap(({ kind }, i) =>
      kind === "sync" || kind === "say" || this.#isSynced(i, length) ? [] : i
    );
  }

  #isSynced(operation: number, length: number): boolean {
    return this.#syncedBy[operation] < length;
  }

  /**
   * What is found where the power went after the first `length` operations.
   *
   * @param kept asked for what was not synced
   */
  after(length: number, kept: Kept): Tree {
    const { operations, before } = this.#recording;
    const entries = new Map<NodeId, Map<string, NodeId>>();
    const enter = ({ folder, name }: Entry, node: NodeId) => {
      if (!entries.has(folder)) entries.set(folder, new Map());
      entries.get(folder)!.set(name, node);
    };
    // Another node may have the name where a change in between was lost.
    const leave = ({ folder, name }: Entry, node: NodeId) => {
      if (entries.get(folder)?.get(name) === node) entries.get(folder)!.delete(name);
    };
    for (const { at, node } of before.entries) enter(at, node);
    for (const [i, operation] of operations.slice(0, length).entries()) {
      if (foldersOf(operation).length === 0) continue;
      if (!this.#isSynced(i, length) && !kept.entry(i)) continue;
      if (operation.kind === "enter") enter(operation.at, operation.node);
      if (operation.kind === "leave") leave(operation.at, operation.node);
      if (operation.kind === "move") {
        leave(operation.from, operation.node);
        enter(operation.to, operation.node);
      }
    }
    const tree = new Map<string, Leaf>();
    const visit = (folder: NodeId, path: string) => {
      for (const [name, node] of entries.get(folder) ?? []) {
        const { type, target } = this.#recording.nodes.get(node)!;
        const at = path === "" ? name : `${path}/${name}`;
        if (type === "file") tree.set(at, { type, ...this.#content(node, length, kept) });
        else if (type === "link") tree.set(at, { type, target: target! });
        else {
          tree.set(at, { type });
          visit(node, at);
        }
      }
    };
    visit(ROOT, "");
    return tree;
  }

  #content(node: NodeId, length: number, kept: Kept): Content {
    const changes = (this.#changes.get(node) ?? []).filter((i) => i < length).map((i) => {
      const operation = this.#recording.operations[i] as Extract<
        Operation,
        { readonly kind: "write" | "resize" }
      >;
      if (this.#isSynced(i, length)) return { operation, size: true, blocks: "all" } as const;
      const blocks = operation.kind === "resize"
        ? []
        : blocksOf(operation).map((block) => kept.block(i, block));
      return { operation, size: kept.size(i), blocks };
    });
    const key = `${node} ` +
      changes.map(({ size, blocks }) =>
        `${size ? "s" : "-"}${blocks === "all" ? "a" : blocks.map(Number).join("")}`
      ).join();
    const known = this.#contents.get(key);
    if (known !== undefined) return known;
    let bytes = this.#recording.before.contents.get(node) ?? new Uint8Array();
    let size = bytes.length;
    bytes = bytes.slice();
    const reach = (end: number) => {
      if (end <= bytes.length) return;
      const longer = new Uint8Array(Math.max(end, 2 * bytes.length));
      longer.set(bytes);
      bytes = longer;
    };
    for (const { operation, size: keepsSize, blocks } of changes) {
      if (operation.kind === "resize") {
        if (!keepsSize) continue;
        reach(operation.sizeBytes);
        bytes.fill(0, operation.sizeBytes);
        size = operation.sizeBytes;
        continue;
      }
      const end = operation.offset + operation.bytes.length;
      reach(end);
      for (const [i, block] of blocksOf(operation).entries()) {
        if (blocks !== "all" && !blocks[i]) continue;
        const from = Math.max(block * BLOCK, operation.offset);
        const to = Math.min((block + 1) * BLOCK, end);
        bytes.set(operation.bytes.subarray(from - operation.offset, to - operation.offset), from);
      }
      if (keepsSize) size = Math.max(size, end);
    }
    reach(size);
    const whole = bytes.slice(0, size);
    const content = { bytes: whole, digest: createHash("sha256").update(whole).digest("hex") };
    this.#contentBytes += size;
    if (this.#contentBytes > MOST_KEPT_BYTES) {
      this.#contents.clear();
      this.#contentBytes = size;
    }
    this.#contents.set(key, content);
    return content;
  }
}

/** Blocks that a write touches, by their places in the file. */
function blocksOf(
  { offset, bytes }: { readonly offset: number; readonly bytes: Uint8Array },
): number[] {
  if (bytes.length === 0) return [];
  const first = Math.floor(offset / BLOCK);
  const last = Math.floor((offset + bytes.length - 1) / BLOCK);
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}
