/** A folder as a running process sees it: all that was done so far, synced or not. */
import type { Before, Entry, Node, NodeId } from "./operations.ts";
import { ROOT } from "./operations.ts";

/** How many links one path may lead through. */
const MOST_LINKS = 40;

export class LiveTree {
  readonly #root: string;
  readonly nodes = new Map<NodeId, Node>([[ROOT, { type: "folder" }]]);
  readonly before: Before;
  readonly #entries = new Map<NodeId, Map<string, NodeId>>([[ROOT, new Map()]]);
  readonly #contents = new Map<NodeId, Uint8Array>();

  /**
   * @param root absolute path, without links
   * @param found what is there, a folder before what is in it; bytes of files
   */
  constructor(
    root: string,
    found: readonly { readonly path: string; readonly node: Node; readonly bytes?: Uint8Array }[],
  ) {
    this.#root = root;
    const entries: { at: Entry; node: NodeId }[] = [];
    const contents = new Map<NodeId, Uint8Array>();
    for (const { path, node, bytes } of found) {
      const entered = this.make(`${root}/${path}`, node)!;
      entries.push(entered);
      if (bytes === undefined) continue;
      contents.set(entered.node, bytes.slice());
      this.#contents.set(entered.node, bytes.slice());
    }
    this.before = { entries, contents };
  }

  isInside(path: string): boolean {
    return path === this.#root || path.startsWith(`${this.#root}/`);
  }

  /** The node of a path without links, `undefined` where it has none or is elsewhere. */
  find(path: string): NodeId | undefined {
    if (!this.isInside(path)) return undefined;
    return this.#walk(path.slice(this.#root.length + 1), 0);
  }

  /** The folder and the name of a path whose last part is not followed. */
  #entryOf(path: string): Entry | undefined {
    if (!this.isInside(path) || path === this.#root) return undefined;
    const whole = path.replace(/\/+$/, "");
    const at = whole.lastIndexOf("/");
    const folder = this.find(whole.slice(0, at));
    if (folder === undefined) throw new Error(`not followed: the folder of ${path}`);
    return { folder, name: whole.slice(at + 1) };
  }

  /** Follows links, save in the last part. */
  #walk(path: string, links: number): NodeId | undefined {
    if (links > MOST_LINKS) throw new Error(`not followed: too many links in ${path}`);
    const parts = path.split("/").filter((part) => part !== "" && part !== ".");
    let [node, done]: [NodeId, string[]] = [ROOT, []];
    for (const [i, part] of parts.entries()) {
      if (part === "..") {
        return this.#walk([...done.slice(0, -1), ...parts.slice(i + 1)].join("/"), links);
      }
      const next = this.#entries.get(node)?.get(part);
      if (next === undefined) return undefined;
      const { type, target } = this.nodes.get(next)!;
      if (type === "link" && i < parts.length - 1) {
        const rest = parts.slice(i + 1).join("/");
        if (!target!.startsWith("/")) {
          return this.#walk([...done, target!, rest].join("/"), links + 1);
        }
        if (!this.isInside(target!)) return undefined;
        return this.#walk(`${target!.slice(this.#root.length + 1)}/${rest}`, links + 1);
      }
      node = next;
      done = [...done, part];
    }
    return node;
  }

  sizeOf(node: NodeId): number {
    return this.#contents.get(node)?.length ?? 0;
  }

  contentOf(node: NodeId): Uint8Array {
    return this.#contents.get(node) ?? new Uint8Array();
  }

  /** Makes a node of a name that nothing has. */
  make(path: string, node: Node): { readonly at: Entry; readonly node: NodeId } | undefined {
    const at = this.#entryOf(path);
    if (at === undefined) return undefined;
    const id = this.nodes.size;
    this.nodes.set(id, node);
    if (node.type === "folder") this.#entries.set(id, new Map());
    this.#entries.get(at.folder)!.set(at.name, id);
    return { at, node: id };
  }

  leave(path: string): { readonly at: Entry; readonly node: NodeId } | undefined {
    const at = this.#entryOf(path);
    if (at === undefined) return undefined;
    const node = this.#entries.get(at.folder)!.get(at.name)!;
    this.#entries.get(at.folder)!.delete(at.name);
    return { at, node };
  }

  move(from: string, to: string): { from: Entry; to: Entry; node: NodeId } {
    const [left, entered] = [this.#entryOf(from)!, this.#entryOf(to)!];
    const node = this.#entries.get(left.folder)!.get(left.name)!;
    this.#entries.get(left.folder)!.delete(left.name);
    this.#entries.get(entered.folder)!.set(entered.name, node);
    return { from: left, to: entered, node };
  }

  write(node: NodeId, offset: number, bytes: Uint8Array): void {
    const end = offset + bytes.length;
    if (end > this.sizeOf(node)) this.resize(node, end);
    this.#contents.get(node)!.set(bytes, offset);
  }

  resize(node: NodeId, sizeBytes: number): void {
    const resized = new Uint8Array(sizeBytes);
    resized.set(this.contentOf(node).subarray(0, sizeBytes));
    this.#contents.set(node, resized);
  }
}
