/** Rust crates in a program, as far as it names them. */

/** A crate of crates.io. */
export interface Crate {
  readonly name: string;
  readonly version: string;
}

/** Where cargo keeps a crate's source; panics name the file that they come from. */
const SOURCE =
  /\/registry\/src\/index\.crates\.io-[0-9a-f]{16}\/([\w-]+?)-(\d+\.\d+\.\d+(?:[-+][\w.+-]*)?)\//g;

/** How much is searched at a time, and how much of it again with the next, so that no path is cut. */
const [CHUNK_BYTES, OVERLAP_BYTES] = [1 << 24, 1 << 10];

/**
 * The crates whose source files a program names, in order. Those that cannot panic are missing: no
 * release of Deno comes with a list of all.
 */
export function cratesIn(program: Uint8Array): Crate[] {
  const found = new Map<string, Crate>();
  const decoder = new TextDecoder("latin1");
  for (let start = 0; start < program.length; start += CHUNK_BYTES) {
    const chunk = program.subarray(start, start + CHUNK_BYTES + OVERLAP_BYTES);
    for (const [, name, version] of decoder.decode(chunk).matchAll(SOURCE)) {
      found.set(`${name}@${version}`, { name, version });
    }
  }
  return [...found.keys()].sort().map((key) => found.get(key)!);
}
