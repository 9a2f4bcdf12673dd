/** What a traced program had not put on the disk when it let something be seen. */
import { basename, dirname } from "@std/path";
import { STRACE } from "./strace_command.ts";

const CALLS = [
  ...["openat", "write", "pwrite64", "copy_file_range", "fsync", "fdatasync"],
  ...["rename", "renameat", "renameat2", "symlink", "symlinkat", "mkdir", "mkdirat"],
];

/** An strace that writes what {@linkcode unsyncedWhen} reads: paths of descriptors, no contents. */
export const SYNC_TRACE = [...STRACE, "-y", "-s", "0", "-e", `trace=${CALLS}`];

/** Paths and descriptors' paths of a traced call, in order. */
const pathsOf = (args: string) =>
  [...args.matchAll(/"((?:[^"\\]|\\.)*)"|\d+<([^>]*)>/g)].map(([, text, of]) => text ?? of);

/**
 * Paths below `root` whose content or entries were not on the disk at the rename to `seen`, by a trace
 * of the calls; at the end of the program where there is no such rename.
 *
 * @param seen the new path
 */
export function unsyncedWhen(trace: string, root: string, seen?: RegExp): readonly string[] {
  const dirty = new Set<string>();
  const enter = (path: string) => {
    // Locks, and what is unfinished: nobody misses the name.
    if (!basename(path).startsWith(".")) dirty.add(dirname(path));
  };
  for (const line of trace.split("\n")) {
    const [, call, args] = /^\d+\s+(\w+)\((.*)/.exec(line) ?? [];
    if (call === undefined || /= -1 E/.test(args)) continue;
    const paths = pathsOf(args).filter((path) => path.startsWith("/"));
    const last = paths.at(-1);
    if (last === undefined) continue; // a pipe, or a relative path of Deno's own
    if (/^f(data)?sync$/.test(call)) dirty.delete(last);
    else if (/write|copy/.test(call)) dirty.add(last);
    else if (call === "openat" && args.includes("O_CREAT")) enter(paths[0]);
    else if (/^(symlink|mkdir)/.test(call)) enter(last);
    else if (/^rename/.test(call)) {
      const [from, to] = paths.slice(-2);
      if (seen?.test(to)) break;
      for (const path of [...dirty]) {
        if (path !== from && !path.startsWith(`${from}/`)) continue;
        dirty.delete(path);
        dirty.add(to + path.slice(from.length));
      }
      enter(from);
      enter(to);
    }
  }
  return [...dirty].filter((path) => path === root || path.startsWith(`${root}/`)).sort();
}
