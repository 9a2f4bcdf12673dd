/**
 * What a run did to a folder, as the kernel was told: a list of changes to nodes (files, folders,
 * links) and to the entries that give them names, with the syncs between them.
 */

/** Names a node; 0 is the folder itself. */
export type NodeId = number;
export const ROOT: NodeId = 0;

export interface Node {
  readonly type: "file" | "folder" | "link";
  /** Of a link. */
  readonly target?: string;
}

/** A name in a folder. */
export interface Entry {
  readonly folder: NodeId;
  readonly name: string;
}

export type Operation =
  /** A name is given to a node. */
  | { readonly kind: "enter"; readonly at: Entry; readonly node: NodeId }
  /** A name is taken away. */
  | { readonly kind: "leave"; readonly at: Entry; readonly node: NodeId }
  /** A node changes its name, in the place of whatever had that. */
  | { readonly kind: "move"; readonly from: Entry; readonly to: Entry; readonly node: NodeId }
  | {
    readonly kind: "write";
    readonly node: NodeId;
    readonly offset: number;
    readonly bytes: Uint8Array;
  }
  /** A file is cut, or grows by zeros. */
  | { readonly kind: "resize"; readonly node: NodeId; readonly sizeBytes: number }
  /** A file's content, or a folder's entries, are on the disk when it returns; without a node, all. */
  | { readonly kind: "sync"; readonly node?: NodeId }
  /** The run told its user something. */
  | { readonly kind: "say"; readonly text: string };

/** A folder before a run. */
export interface Before {
  readonly entries: readonly { readonly at: Entry; readonly node: NodeId }[];
  readonly contents: ReadonlyMap<NodeId, Uint8Array>;
}

/** A run, with the folder that it began with; all of that counts as being on the disk. */
export interface Recording {
  readonly nodes: ReadonlyMap<NodeId, Node>;
  readonly before: Before;
  readonly operations: readonly Operation[];
}

/** What a path of a tree has: a folder, a link to a target, or a file's bytes with their digest. */
export type Leaf =
  | { readonly type: "folder" }
  | { readonly type: "link"; readonly target: string }
  | { readonly type: "file"; readonly bytes: Uint8Array; readonly digest: string };

/** A folder's content by path relative to it; a folder comes before what is in it. */
export type Tree = ReadonlyMap<string, Leaf>;

/** A text that is equal for equal trees. */
export function digestOfTree(tree: Tree): string {
  const lines = tree.entries().map(([path, leaf]) =>
    JSON.stringify([
      path,
      leaf.type,
      leaf.type === "file" ? leaf.digest : leaf.type === "link" ? leaf.target : "",
    ])
  );
  return [...lines].sort().join("\n");
}
