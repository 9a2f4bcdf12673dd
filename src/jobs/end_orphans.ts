/** Ends children of a killed parent that still write into a folder. */
import { resolve } from "@std/path";
import { listKernelFolder, readKernelFile } from "../system/kernel_files.ts";

/** Verbs of children that write, and the flags of their target; children that only read are not ended. */
const WRITING = [["train", "--adapter-path"], ["merge", "--save-path"]] as const;

/**
 * Ends writing children of a killed job: they must not write beside the job that continues. Under
 * systemd they are killed with the job. Children get absolute paths, which distinguish them from those
 * of a parent with another folder; a compiled graft has no permission to read their working folder.
 */
export function endOrphans(within: string): void {
  const folder = `${resolve(within)}/`;
  for (const pid of listKernelFolder("/proc").filter((name) => /^\d+$/.test(name))) {
    const words = (readKernelFile(`/proc/${pid}/cmdline`) ?? "").split("\0");
    const writes = WRITING.some(([verb, flag]) =>
      words.includes(verb) && words[words.indexOf(flag) + 1].startsWith(folder)
    );
    if (!writes) continue;
    try {
      Deno.kill(Number(pid), "SIGKILL");
    } catch {
      // it has ended by itself
    }
  }
}
