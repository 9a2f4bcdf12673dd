/** npm packages as they lie in `node_modules`: folders, licences. */
import { join } from "@std/path";
import { underlined } from "../../src/cli/terminal/format.ts";
import type { Locked } from "./lockfile.ts";

/** The folder of an installed package. */
function packageFolder(root: string, { name, version }: Locked): string {
  const store = `${name.replace("/", "+")}@${version}`;
  return join(root, "node_modules", ".deno", store, "node_modules", name);
}

/** What `package.json` says, as far as it is used here. */
interface Manifest {
  readonly license?: unknown;
  readonly type?: string;
  readonly exports?: unknown;
  readonly dependencies?: Readonly<Record<string, string>>;
}

function manifestOf(root: string, locked: Locked): Manifest {
  const path = join(packageFolder(root, locked), "package.json");
  return JSON.parse(Deno.readTextFileSync(path));
}

/** Licences of packages that name theirs in words: what their licence files say. */
const IN_WORDS: Readonly<Record<string, string>> = {
  "dejavu-fonts-ttf": "Bitstream-Vera AND LicenseRef-Arev",
};

/** The licence that a package states, as an SPDX expression. */
export function licenseOf(root: string, locked: Locked): string {
  if (Object.hasOwn(IN_WORDS, locked.name)) return IN_WORDS[locked.name];
  const { license } = manifestOf(root, locked);
  if (typeof license === "string") return license;
  throw new Error(`${locked.name} ${locked.version} states no licence`);
}

const LICENSE_FILE = /^(licen[cs]e|notice|copying)/i;

/** The texts of the licence files that packages bring, each under its package's name. */
export function licenseTexts(root: string, packages: readonly Locked[]): string {
  const parts: string[] = [];
  for (const locked of packages) {
    const folder = packageFolder(root, locked);
    const files = [...Deno.readDirSync(folder)].map(({ name }) => name).sort();
    for (const file of files.filter((name) => LICENSE_FILE.test(name))) {
      const heading = underlined(`${locked.name} ${locked.version}: ${file}`);
      const text = Deno.readTextFileSync(join(folder, file)).trim();
      parts.push(`${heading}\n\n${text}\n`);
    }
  }
  return parts.join("\n\n");
}

/** Types, and maps from the code to what it was made of: no program reads them. */
const NOT_RUN = /\.(d\.[cm]?ts|map)$/;

/**
 * Copies packages, without what no program reads: a binary holds all files of its packages in memory.
 *
 * @param to a folder of packages by name
 * @throws {Error} where a package is needed in two versions
 */
export async function copyPackages(
  root: string,
  packages: readonly Locked[],
  to: string,
): Promise<void> {
  // Packages without ES modules call require().
  const required = new Set(
    packages.map((locked) => manifestOf(root, locked))
      .filter(({ type, exports }) => type !== "module" && exports === undefined)
      .flatMap(({ dependencies }) => Object.keys(dependencies ?? {})),
  );
  for (const locked of packages) {
    const { name } = locked;
    if (packages.some((other) => other !== locked && other.name === name)) {
      throw new Error(`${name} is needed in two versions`);
    }
    const folder = join(to, name);
    await copyRun(packageFolder(root, locked), folder, required.has(name));
    await Deno.remove(join(folder, "test"), { recursive: true }).catch(() => {});
  }
}

/** @param isRequired whether modules that are there as ES modules, too, are needed for require() */
async function copyRun(from: string, to: string, isRequired: boolean): Promise<void> {
  await Deno.mkdir(to, { recursive: true });
  const entries = [...Deno.readDirSync(from)];
  const names = new Set(entries.map(({ name }) => name));
  const isTwin = (name: string) => name.endsWith(".cjs") && names.has(`${name.slice(0, -3)}mjs`);
  for (const { name, isDirectory } of entries) {
    if (NOT_RUN.test(name) || (!isRequired && isTwin(name))) continue;
    if (isDirectory) await copyRun(join(from, name), join(to, name), isRequired);
    else await Deno.copyFile(join(from, name), join(to, name));
  }
}
