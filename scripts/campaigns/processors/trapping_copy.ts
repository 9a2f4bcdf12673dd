/** A copy of a library for x64 in which `cpuid` is a trap, for `cpuid_mask.c`. */
import { basename } from "@std/path";
import { run } from "./command.ts";

const CPUID = [0x0f, 0xa2];

/** `int 0xa2`, which no program may raise. */
const TRAP = [0xcd, 0xa2];

/** @returns where in the folder it lies, under the library's name, or why there is none */
export function trappingCopy(
  library: string,
  folder: string,
): { readonly path: string } | { readonly missing: string } {
  const [, address, offset] = /\.text +\w+ +(\w+) +\w+ +(\w+)/.exec(
    run("objdump", ["--section-headers", "--wide", library]) ?? "",
  ) ?? [];
  // Hundreds of MB of text, of which some ten lines matter.
  const script = 'objdump --disassemble --section=.text --no-show-raw-insn "$1" | grep -w cpuid';
  const found = run("sh", ["-c", script, "sh", library]);
  if (offset === undefined || found === undefined) {
    return { missing: `objdump finds no cpuid in ${library}` };
  }
  const bytes = Deno.readFileSync(library);
  for (const [, at] of found.matchAll(/^ *([0-9a-f]+):/gm)) {
    const place = parseInt(at, 16) - parseInt(address, 16) + parseInt(offset, 16);
    if (CPUID.some((byte, index) => bytes[place + index] !== byte)) {
      return { missing: `there is no cpuid at ${at} of ${library}` };
    }
    bytes.set(TRAP, place);
  }
  const path = `${folder}/${basename(library)}`;
  Deno.writeFileSync(path, bytes);
  return { path };
}
