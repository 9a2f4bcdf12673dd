/** Follows a trace of system calls and tells what they did to one folder. */
import type { LiveTree } from "./live_tree.ts";
import type { Operation, Recording } from "./operations.ts";
import { bytesOf, type Call, descriptorOf, textOf } from "./trace.ts";

/** What is there where a run begins. */
export interface Outside {
  /** The folder, as an absolute path without links. */
  readonly root: string;
  /** Reads a file outside the folder, which a call copies from. */
  read(path: string): Uint8Array;
}

/** A place in an open file; descriptors that were duplicated share it. */
interface Position {
  at: number;
  /** Whether each write goes to the file's end. */
  readonly appends: boolean;
}

export class Follower {
  readonly #tree: LiveTree;
  readonly #outside: Outside;
  readonly #operations: Operation[] = [];
  /** By descriptor and file: processes that share a number rarely share the file, too. */
  readonly #positions = new Map<string, Position>();

  constructor(tree: LiveTree, outside: Outside) {
    this.#tree = tree;
    this.#outside = outside;
  }

  /** All calls so far, beside the folder that they began with. */
  recording(): Recording {
    const { nodes, before } = this.#tree;
    return { nodes, before, operations: this.#operations };
  }

  /**
   * Takes a call in.
   *
   * @throws {Error} for one that changes the folder in a way that is not modelled
   */
  follow(call: Call): void {
    const { name, args } = call;
    switch (name) {
      case "open":
      case "openat":
      case "creat":
        return this.#open(call);
      case "write":
        return this.#write(args[0], bytesOf(args[1]).subarray(0, call.result));
      case "lseek":
        return this.#isInside(args[0])
          ? void (this.#position(args[0]).at = call.result)
          : undefined;
      case "pwrite64":
        return this.#writeAt(args[0], Number(args[3]), bytesOf(args[1]).subarray(0, call.result));
      case "copy_file_range":
        return this.#copy(args[0], args[2], args[1] !== "NULL" || args[3] !== "NULL", call.result);
      case "sendfile":
        return this.#copy(args[1], args[0], args[2] !== "NULL", call.result);
      case "ftruncate":
        return this.#resize(descriptorOf(args[0]).path, Number(args[1]));
      case "truncate":
        return this.#resize(textOf(args[0]), Number(args[1]));
      case "fcntl":
        if (!args[1].startsWith("F_DUPFD")) return;
        return this.#duplicate(args[0], `${call.result}`);
      case "dup":
      case "dup2":
      case "dup3":
        return this.#duplicate(args[0], `${call.result}`);
      case "fsync":
      case "fdatasync":
        return this.#sync(descriptorOf(args[0]).path);
      case "sync":
      case "syncfs":
        return void this.#operations.push({ kind: "sync" });
      case "mkdir":
      case "mkdirat":
        return this.#make(pathOf(args, name === "mkdirat"), { type: "folder" });
      case "symlink":
        return this.#make(textOf(args[1]), { type: "link", target: textOf(args[0]) });
      case "symlinkat":
        return this.#make(pathOf(args.slice(1), true), { type: "link", target: textOf(args[0]) });
      case "unlink":
      case "rmdir":
      case "unlinkat":
        return this.#leave(pathOf(args, name === "unlinkat"));
      case "rename":
        return this.#move(textOf(args[0]), textOf(args[1]));
      case "renameat":
        return this.#move(pathOf(args, true), pathOf(args.slice(2), true));
      case "renameat2":
        if (/RENAME_(EXCHANGE|WHITEOUT)/.test(args[4])) return this.#refuse(call);
        return this.#move(pathOf(args, true), pathOf(args.slice(2), true));
      case "mmap":
        // What is written through memory is seen by no call.
        if (args[2].includes("PROT_WRITE") && args[3].includes("MAP_SHARED")) this.#refuse(call);
        return;
      case "msync":
      case "sync_file_range":
        return; // says nothing on metadata: sync_file_range(2) warns of it
      case "writev":
      case "pwritev":
      case "pwritev2":
      case "fallocate":
      case "splice":
      case "link":
      case "linkat":
        return this.#refuse(call);
    }
  }

  #open({ name, args, resultPath, result }: Call): void {
    const path = resultPath ?? "";
    if (!this.#tree.isInside(path)) return;
    const flags = name === "creat" ? "O_CREAT|O_TRUNC" : args[name === "openat" ? 2 : 1];
    if (flags.includes("O_TMPFILE")) throw new Error(`not modelled: O_TMPFILE in ${path}`);
    let node = this.#tree.find(path);
    if (node === undefined) {
      this.#make(path, { type: "file" });
      node = this.#tree.find(path)!;
    } else if (flags.includes("O_TRUNC") && this.#tree.sizeOf(node) > 0) this.#resize(path, 0);
    const appends = flags.includes("O_APPEND");
    this.#positions.set(`${result} ${node}`, { at: 0, appends });
  }

  #isInside(descriptor: string): boolean {
    return this.#tree.find(descriptorOf(descriptor).path) !== undefined;
  }

  #position(descriptor: string): Position {
    const { number, path } = descriptorOf(descriptor);
    const key = `${number} ${this.#tree.find(path) ?? path}`;
    let position = this.#positions.get(key);
    if (position === undefined) this.#positions.set(key, position = { at: 0, appends: false });
    return position;
  }

  #duplicate(from: string, to: string): void {
    const { path } = descriptorOf(from);
    const node = this.#tree.find(path);
    if (node !== undefined) this.#positions.set(`${to} ${node}`, this.#position(from));
  }

  #write(descriptor: string, bytes: Uint8Array): void {
    const { number, path } = descriptorOf(descriptor);
    const node = this.#tree.find(path);
    if (node === undefined) {
      if (number === "1" || number === "2") {
        this.#operations.push({ kind: "say", text: new TextDecoder().decode(bytes) });
      }
      return;
    }
    const position = this.#position(descriptor);
    if (position.appends) position.at = this.#tree.sizeOf(node);
    this.#writeAt(descriptor, position.at, bytes);
    position.at += bytes.length;
  }

  #writeAt(descriptor: string, offset: number, bytes: Uint8Array): void {
    const node = this.#tree.find(descriptorOf(descriptor).path);
    if (node === undefined || bytes.length === 0) return;
    this.#tree.write(node, offset, bytes);
    this.#operations.push({ kind: "write", node, offset, bytes: bytes.slice() });
  }

  #copy(from: string, to: string, atOffsets: boolean, count: number): void {
    if (!this.#isInside(to)) return;
    if (atOffsets) throw new Error("not modelled: a copy from or to an offset");
    const { path } = descriptorOf(from);
    const node = this.#tree.find(path);
    const source = node === undefined ? this.#outside.read(path) : this.#tree.contentOf(node);
    const position = this.#position(from);
    const bytes = source.slice(position.at, position.at + count);
    position.at += count;
    this.#write(to, bytes);
  }

  #resize(path: string, sizeBytes: number): void {
    const node = this.#tree.find(path);
    if (node === undefined || this.#tree.sizeOf(node) === sizeBytes) return;
    this.#tree.resize(node, sizeBytes);
    this.#operations.push({ kind: "resize", node, sizeBytes });
  }

  #sync(path: string): void {
    const node = this.#tree.find(path);
    if (node !== undefined) this.#operations.push({ kind: "sync", node });
  }

  #make(path: string, node: Parameters<LiveTree["make"]>[1]): void {
    const entered = this.#tree.make(path, node);
    if (entered !== undefined) this.#operations.push({ kind: "enter", ...entered });
  }

  #leave(path: string): void {
    const left = this.#tree.leave(path);
    if (left !== undefined) this.#operations.push({ kind: "leave", ...left });
  }

  #move(from: string, to: string): void {
    const [isFrom, isTo] = [from, to].map((path) => this.#tree.isInside(path));
    if (!isFrom && !isTo) return;
    if (!isFrom || !isTo) {
      throw new Error(`not modelled: a move over the folder's border, to ${to}`);
    }
    this.#operations.push({ kind: "move", ...this.#tree.move(from, to) });
  }

  /** Whatever such a call does elsewhere does not matter. */
  #refuse({ name, args }: Call): void {
    const { root } = this.#outside;
    const paths = args.map((argument) =>
      argument.startsWith('"') ? textOf(argument) : descriptorOf(argument).path
    );
    const path = paths.find((path) => path.startsWith(`${root}/`));
    if (path !== undefined) throw new Error(`not modelled: ${name} of ${path}`);
  }
}

/** The path of an `…at` call, or the path that stands first. */
function pathOf(args: readonly string[], isAt: boolean): string {
  const path = textOf(args[isAt ? 1 : 0]);
  return path.startsWith("/") || !isAt ? path : `${descriptorOf(args[0]).path}/${path}`;
}
