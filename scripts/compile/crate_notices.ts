/**
 * Notices of the Rust crates that Deno's runtime and resvg are built from. Neither come with them: which
 * they are Deno's lockfile tells (`scripts/runtime_crates.py`) and resvg's WebAssembly, and licences and copyright lines
 * of `crates.json` are what Debian's packages of the crates state (`scripts/crate_licenses.py`), and what
 * was read in the repositories of others. Crates of several releases are in it.
 */
import { join } from "@std/path";
import { underlined } from "../../src/cli/terminal/format.ts";
import type { Crate } from "./crates.ts";

/** What is known of a crate. */
export interface CrateFacts {
  /** SPDX expression. */
  readonly license: string;
  readonly copyright: readonly string[];
}

/** By name. */
export type CrateTable = Readonly<Record<string, CrateFacts>>;

export function readCrateTable(root: string): CrateTable {
  return JSON.parse(Deno.readTextFileSync(join(root, "scripts/compile/crates.json")));
}

/** Licences and exceptions that an SPDX expression names. */
export function licensesOf(expression: string): string[] {
  return expression.split(/[()\s]+/).filter((word) => !/^(AND|OR|WITH|)$/.test(word));
}

/**
 * The text of a licence or an exception.
 *
 * @param root of the checkout
 */
export function licenseText(root: string, id: string): string {
  // graft's own.
  const path = id === "Apache-2.0" ? "LICENSE" : `scripts/compile/licenses/${id}.txt`;
  return Deno.readTextFileSync(join(root, path)).trim();
}

/** Crates of which nothing is known. */
export function unknownCrates(table: CrateTable, crates: readonly Crate[]): string[] {
  return [...new Set(crates.map(({ name }) => name))].filter((name) => !Object.hasOwn(table, name));
}

/** All crates of the table with their licences, and the texts of these. */
export function crateNotices(table: CrateTable, textOf: (license: string) => string): string {
  const names = Object.keys(table).sort();
  const crates = names.map((name) => {
    const { license, copyright } = table[name];
    return [`${name}: ${license}`, ...copyright.map((line) => `    ${line}`)].join("\n");
  });
  const licenses = [...new Set(names.flatMap((name) => licensesOf(table[name].license)))].sort();
  const texts = licenses.map((id) => `${underlined(id)}\n\n${textOf(id)}`);
  return [
    underlined("Rust crates that Deno's runtime and resvg are built from"),
    crates.join("\n"),
    ...texts,
  ]
    .join("\n\n") +
    "\n";
}
