/** What an ELF file (64 bits, little-endian) needs of the system that loads it. */

/** `e_machine` by the target's name. */
const MACHINE: Readonly<Record<number, Target>> = { 62: "x64", 183: "arm64" };

/** A processor that graft is compiled for, as npm's packages name it. */
export type Target = "x64" | "arm64";

const SHT_GNU_VERNEED = 0x6ffffffe;

function viewOf(elf: Uint8Array): DataView {
  const view = new DataView(elf.buffer, elf.byteOffset, elf.byteLength);
  // Magic, then class (2 for 64 bits) and byte order (1 for little-endian).
  if (elf.length < 64 || view.getUint32(0) !== 0x7f454c46 || elf[4] !== 2 || elf[5] !== 1) {
    throw new Error("It is no ELF file of 64 bits");
  }
  return view;
}

/** The processor that an ELF file is for; `undefined` for one that graft is not compiled for. */
export function machineOf(elf: Uint8Array): Target | undefined {
  return MACHINE[viewOf(elf).getUint16(0x12, true)];
}

/**
 * Versions of symbols that an ELF file takes from its libraries: `GLIBC_2.28`, `GLIBCXX_3.4.22`.
 *
 * Source: System V ABI, "Symbol Versioning" of the Linux Standard Base: `Elf64_Verneed`.
 */
export function neededVersions(elf: Uint8Array): ReadonlySet<string> {
  const view = viewOf(elf);
  const start = Number(view.getBigUint64(0x28, true));
  const [size, count] = [view.getUint16(0x3a, true), view.getUint16(0x3c, true)];
  const offsetOf = (section: number) =>
    Number(view.getBigUint64(start + section * size + 24, true));
  const found = new Set<string>();
  for (let section = 0; section < count; section++) {
    const header = start + section * size;
    if (view.getUint32(header + 4, true) !== SHT_GNU_VERNEED) continue;
    const names = offsetOf(view.getUint32(header + 40, true)); // sh_link
    const libraries = view.getUint32(header + 44, true); // sh_info
    let library = offsetOf(section);
    for (let i = 0; i < libraries; i++) {
      const versions = view.getUint16(library + 2, true);
      let version = library + view.getUint32(library + 8, true);
      for (let j = 0; j < versions; j++) {
        found.add(textAt(elf, names + view.getUint32(version + 8, true)));
        version += view.getUint32(version + 12, true);
      }
      library += view.getUint32(library + 12, true);
    }
  }
  return found;
}

function textAt(bytes: Uint8Array, offset: number): string {
  return new TextDecoder().decode(bytes.subarray(offset, bytes.indexOf(0, offset)));
}

/** The lowest release of the C library that has all that an ELF file takes from it, e.g. `2.28`. */
export function lowestGlibc(elf: Uint8Array): string {
  const releases = [...neededVersions(elf)]
    .map((version) => /^GLIBC_(\d+(?:\.\d+)+)$/.exec(version)?.[1])
    .filter((release) => release !== undefined);
  return releases.sort(compareReleases).at(-1) ?? "0";
}

/** Orders `2.4` before `2.28`. */
export function compareReleases(a: string, b: string): number {
  const [x, y] = [a, b].map((release) => release.split(".").map(Number));
  for (let i = 0; i < Math.max(x.length, y.length); i++) {
    const difference = (x[i] ?? 0) - (y[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
