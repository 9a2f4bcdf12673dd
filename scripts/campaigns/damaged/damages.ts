import { join } from "@std/path";
import { filesIn } from "../../../tests/helpers/files_in.ts";

/** What can become of a file: each is made of the file at a path. */
export const DAMAGES: Readonly<Record<string, (path: string) => void>> = {
  missing: (path) => Deno.removeSync(path),
  empty: (path) => Deno.truncateSync(path),
  "cut short": (path) => Deno.truncateSync(path, Math.floor(Deno.statSync(path).size / 2)),
  // As after a power loss on some file systems.
  zeros: (path) => Deno.writeFileSync(path, new Uint8Array(Deno.statSync(path).size)),
  "a flipped byte": flipByte,
  "other JSON": (path) => Deno.writeTextFileSync(path, "[null]\n"),
  "a folder": (path) => {
    Deno.removeSync(path);
    Deno.mkdirSync(path);
  },
  "a dangling link": (path) => {
    Deno.removeSync(path);
    Deno.symlinkSync("/nonexistent/file", path);
  },
  "a pipe": (path) => {
    Deno.removeSync(path);
    new Deno.Command("mkfifo", { args: [path] }).outputSync();
  },
};

function flipByte(path: string): void {
  const bytes = Deno.readFileSync(path);
  if (bytes.length === 0) return;
  bytes[bytes.length >> 1] ^= 0x55;
  Deno.writeFileSync(path, bytes);
}

/** Paths of the regular files in a folder, from there. */
export function regularFilesIn(folder: string): string[] {
  return filesIn(folder).filter((path) => Deno.lstatSync(join(folder, path)).isFile);
}
