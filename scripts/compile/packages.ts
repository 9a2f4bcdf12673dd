/** npm packages as they lie in `node_modules`: folders, licences. */
import { join } from "@std/path";
import { underlined } from "../../src/cli/terminal/format.ts";
import type { Locked } from "./lockfile.ts";

/** The folder of an installed package. */
function packageFolder(root: string, { name, version }: Locked): string {
  const store = `${name.replace("/", "+")}@${version}`;
  return join(root, "node_modules", ".deno", store, "node_modules", name);
}

/** The licence that a package states, as an SPDX expression. */
export function licenseOf(root: string, locked: Locked): string {
  const path = join(packageFolder(root, locked), "package.json");
  const { license } = JSON.parse(Deno.readTextFileSync(path));
  if (typeof license !== "string") throw new Error(`${path} states no licence`);
  return license;
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
