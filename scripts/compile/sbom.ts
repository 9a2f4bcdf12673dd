/** What is in a binary, as a CycloneDX bill of materials. */
import type { CrateTable } from "./crate_notices.ts";
import type { Crate } from "./crates.ts";
import type { Locked } from "./lockfile.ts";

/** Something in the binary that is no npm package. */
export interface Part {
  readonly type: "application" | "library" | "machine-learning-model";
  readonly name: string;
  readonly version: string;
  /** SPDX expression. */
  readonly license: string;
  readonly sha256: string;
  readonly purl?: string;
}

/** An npm package with its licence, an SPDX expression. */
export type LicensedPackage = Locked & { readonly license: string };

/**
 * The bill of materials of a binary. It has no time and no random number: the same parts give the
 * same text.
 *
 * Source: CycloneDX 1.5 JSON; package URLs as purl-spec has them for npm and cargo.
 *
 * @param binary the finished file
 * @param crates of the runtime, as far as they are known
 * @param table their licences
 */
export function billOfMaterials(
  binary: Omit<Part, "type">,
  parts: readonly Part[],
  packages: readonly LicensedPackage[],
  crates: readonly Crate[],
  table: CrateTable,
): string {
  const bom = {
    bomFormat: "CycloneDX",
    specVersion: "1.5",
    version: 1,
    metadata: { component: component({ type: "application", ...binary }) },
    components: [
      ...parts.map(component),
      ...packages.map(npmComponent),
      ...crates.map((crate) => crateComponent(crate, table)),
    ],
  };
  return `${JSON.stringify(bom, undefined, 2)}\n`;
}

function component({ type, name, version, license, sha256, purl }: Part) {
  return {
    type,
    "bom-ref": purl ?? `${name}@${version}`,
    name,
    version,
    ...(purl === undefined ? {} : { purl }),
    licenses: [{ expression: license }],
    hashes: [{ alg: "SHA-256", content: sha256 }],
  };
}

function crateComponent({ name, version }: Crate, table: CrateTable) {
  const purl = `pkg:cargo/${name}@${version.replaceAll("+", "%2B")}`;
  const part = { type: "library", "bom-ref": purl, name, version, purl };
  return Object.hasOwn(table, name)
    ? { ...part, licenses: [{ expression: table[name].license }] }
    : part;
}

function npmComponent({ name, version, integrity, license }: LicensedPackage) {
  const purl = `pkg:npm/${name.replace("@", "%40")}@${version}`;
  const [algorithm, digest] = integrity?.split(/-(.*)/s) ?? [];
  return {
    type: "library",
    "bom-ref": purl,
    name,
    version,
    purl,
    licenses: [{ expression: license.replace(/^\((.*)\)$/, "$1") }],
    ...(algorithm === "sha512"
      ? { hashes: [{ alg: "SHA-512", content: Uint8Array.fromBase64(digest).toHex() }] }
      : {}),
  };
}
