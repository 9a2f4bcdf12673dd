/** Folders of the real disk beside trees of the model. */
import { createHash } from "node:crypto";
import { join } from "@std/path";
import type { Leaf, Node, Tree } from "./operations.ts";

/** What a folder holds, a folder before what is in it. */
export function readFolder(
  root: string,
): { readonly path: string; readonly node: Node; readonly bytes?: Uint8Array }[] {
  const entriesOf = (below: string): ReturnType<typeof readFolder> =>
    [...Deno.readDirSync(join(root, below))].flatMap(({ name, isDirectory, isSymlink }) => {
      const path = below === "" ? name : `${below}/${name}`;
      const at = join(root, path);
      if (isDirectory) return [{ path, node: { type: "folder" } as const }, ...entriesOf(path)];
      if (isSymlink) {
        return { path, node: { type: "link", target: Deno.readLinkSync(at) } as const };
      }
      return { path, node: { type: "file" } as const, bytes: Deno.readFileSync(at) };
    });
  return entriesOf("");
}

/** The same as a tree. */
export function treeOf(root: string): Tree {
  return new Map(
    readFolder(root).map(({ path, node: { type, target }, bytes }): [string, Leaf] => {
      if (type === "folder") return [path, { type }];
      if (type === "link") return [path, { type, target: target! }];
      const digest = createHash("sha256").update(bytes!).digest("hex");
      return [path, { type, bytes: bytes!, digest }];
    }),
  );
}

/** Makes a folder hold a tree and nothing else. */
export function writeTree(root: string, tree: Tree): void {
  try {
    Deno.removeSync(root, { recursive: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  Deno.mkdirSync(root, { recursive: true });
  for (const [path, leaf] of tree) {
    const at = join(root, path);
    if (leaf.type === "folder") Deno.mkdirSync(at);
    else if (leaf.type === "link") Deno.symlinkSync(leaf.target, at);
    else Deno.writeFileSync(at, leaf.bytes);
  }
}
