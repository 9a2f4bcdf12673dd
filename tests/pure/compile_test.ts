import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { insertFiles, placeFiles } from "../../scripts/compile/append.ts";
import { crateNotices, licensesOf, unknownCrates } from "../../scripts/compile/crate_notices.ts";
import { cratesIn } from "../../scripts/compile/crates.ts";
import {
  compareReleases,
  lowestGlibc,
  machineOf,
  neededVersions,
} from "../../scripts/compile/elf.ts";
import { lockedPackages, packageOf, pruneLock } from "../../scripts/compile/lockfile.ts";
import { billOfMaterials } from "../../scripts/compile/sbom.ts";
import { unzip } from "../../scripts/compile/zip.ts";
import { appendedStart, PAGE_BYTES, sectionsEnd } from "../../src/system/embedded.ts";

/** A program file: header, names, needed versions, section headers; then what was joined to it. */
function elf(versions: readonly string[], machine = 62, joined = new Uint8Array(0)): Uint8Array {
  const names = new TextEncoder().encode(`\0libc.so.6\0${versions.join("\0")}\0`);
  const [namesAt, needsAt] = [64, 64 + Math.ceil(names.length / 8) * 8];
  const headersAt = needsAt + 16 + 16 * versions.length;
  const bytes = new Uint8Array(headersAt + 2 * 64 + joined.length);
  const view = new DataView(bytes.buffer);
  bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, 1]);
  view.setUint16(0x12, machine, true);
  view.setBigUint64(0x28, BigInt(headersAt), true);
  view.setUint16(0x3a, 64, true);
  view.setUint16(0x3c, 2, true);
  bytes.set(names, namesAt);
  view.setUint16(needsAt + 2, versions.length, true); // vn_cnt
  view.setUint32(needsAt + 8, 16, true); // vn_aux
  let name = 11;
  versions.forEach((version, i) => {
    const at = needsAt + 16 + 16 * i;
    view.setUint32(at + 8, name, true); // vna_name
    view.setUint32(at + 12, 16, true); // vna_next
    name += version.length + 1;
  });
  view.setBigUint64(headersAt + 24, BigInt(namesAt), true);
  const need = headersAt + 64;
  view.setUint32(need + 4, 0x6ffffffe, true); // SHT_GNU_verneed
  view.setBigUint64(need + 24, BigInt(needsAt), true);
  view.setUint32(need + 40, 0, true); // sh_link: the names
  view.setUint32(need + 44, 1, true); // sh_info: libraries
  bytes.set(joined, headersAt + 2 * 64);
  return bytes;
}

Deno.test("lowestGlibc() is the highest release that a file names", () => {
  const file = elf(["GLIBC_2.4", "GLIBC_2.28", "GLIBCXX_3.4.22", "GLIBC_2.17", "GLIBC_PRIVATE"]);
  assertEquals(lowestGlibc(file), "2.28");
  assert(neededVersions(file).has("GLIBCXX_3.4.22"));
  assertEquals([machineOf(file), machineOf(elf([], 183)), machineOf(elf([], 3))], [
    "x64",
    "arm64",
    undefined,
  ]);
  assertThrows(() => machineOf(new Uint8Array(100)), Error, "no ELF file");
  assertEquals(compareReleases("2.4", "2.28") < 0, true);
});

Deno.test("insertFiles() puts files on pages between the runtime and Deno's part", async () => {
  const joined = new TextEncoder().encode("Deno's own part");
  const program = elf(["GLIBC_2.2.5"], 62, joined);
  const files = [
    { name: "one", content: new Uint8Array(PAGE_BYTES + 1).fill(1) },
    { name: "two", content: new Uint8Array(10).fill(2) },
  ];
  const places = await placeFiles(files);
  const whole = insertFiles(program, files, places);
  const start = appendedStart(whole);
  assertEquals(start % PAGE_BYTES, 0);
  for (const { name, content } of files) {
    const { offset, sizeBytes } = places[name];
    assertEquals(offset % PAGE_BYTES, 0);
    assertEquals(whole.slice(start + offset, start + offset + sizeBytes), content);
  }
  const end = sectionsEnd(program);
  assertEquals(whole.slice(0, end), program.slice(0, end));
  assertEquals(whole.slice(-joined.length), joined);
  assertThrows(() => insertFiles(elf([]), files, places), Error, "does not follow");
});

const LOCK = {
  version: "5",
  specifiers: { "npm:a@1.0.0": "1.0.0", "npm:@s/b@2.0.0": "2.0.0", "npm:test@1.0.0": "1.0.0" },
  npm: {
    "@s/b@2.0.0": { integrity: "sha512-AQID" },
    "a@1.0.0": { dependencies: ["c", "d@2.0.0"] },
    "c@1.0.0": {},
    "d@1.0.0": {},
    "d@2.0.0": {},
    "test@1.0.0": {},
  },
  workspace: { dependencies: [] },
};

Deno.test("pruneLock() keeps what is imported and what that depends on", () => {
  assertEquals(packageOf("npm:@s/b@2.0.0/x/mod.js"), "npm:@s/b@2.0.0");
  const pruned = pruneLock(LOCK, new Set(["npm:a@1.0.0", "npm:@s/b@2.0.0"]));
  const names = lockedPackages(pruned).map(({ name, version }) => `${name} ${version}`);
  assertEquals(names, ["@s/b 2.0.0", "a 1.0.0", "c 1.0.0", "d 2.0.0"]);
  assertEquals(Object.keys(pruned.specifiers), pruned.workspace.dependencies);
  assertThrows(() => pruneLock(LOCK, new Set(["npm:z@1.0.0"])), Error, "has no npm:z@1.0.0");
});

Deno.test("pruneLock() leaves out optional peers that nothing else needs, in others' names, too", () => {
  const lock = {
    version: "5",
    specifiers: {
      "npm:@s/json@1.8.0": "1.8.0_valid@1.5.0_types@5.9.3",
      "npm:types@5.9.3": "5.9.3",
      "npm:valid@1.5.0": "1.5.0_types@5.9.3",
    },
    npm: {
      "@s/json@1.8.0_valid@1.5.0_types@5.9.3": { dependencies: ["valid"] },
      "types@5.9.3": {},
      "valid@1.5.0_types@5.9.3": { dependencies: ["types"], optionalPeers: ["types"] },
    },
    workspace: { dependencies: [] },
  };
  const pruned = pruneLock(lock, new Set(["npm:@s/json@1.8.0", "npm:valid@1.5.0"]));
  assertEquals(pruned.specifiers, {
    "npm:@s/json@1.8.0": "1.8.0_valid@1.5.0",
    "npm:valid@1.5.0": "1.5.0",
  });
  assertEquals(pruned.npm, {
    "@s/json@1.8.0_valid@1.5.0": { dependencies: ["valid"] },
    "valid@1.5.0": {},
  });
  assertEquals(lockedPackages(pruned).map(({ name, version }) => `${name} ${version}`), [
    "@s/json 1.8.0",
    "valid 1.5.0",
  ]);
  // A program that imports the peer itself keeps it.
  const specifiers = Object.keys(lock.specifiers);
  assertEquals(pruneLock(lock, new Set(specifiers)).npm, lock.npm);
});

Deno.test("billOfMaterials() names packages by purl, with licence and digest", () => {
  const binary = { name: "graft", version: "1", license: "Apache-2.0", sha256: "ab" };
  const text = billOfMaterials(
    binary,
    [],
    [
      { name: "@s/b", version: "2.0.0", integrity: "sha512-AQID", license: "(MIT OR CC0-1.0)" },
    ],
    [{ name: "ash", version: "0.38.0+1.3" }, { name: "toString", version: "1.0.0" }],
    {
      ash: { license: "MIT OR Apache-2.0", copyright: [] },
    },
  );
  const { components: [component, crate, unknown] } = JSON.parse(text);
  assertEquals(crate.purl, "pkg:cargo/ash@0.38.0%2B1.3");
  assertEquals(crate.licenses, [{ expression: "MIT OR Apache-2.0" }]);
  assertEquals(unknown.licenses, undefined);
  assertEquals(component.purl, "pkg:npm/%40s/b@2.0.0");
  assertEquals(component.licenses, [{ expression: "MIT OR CC0-1.0" }]);
  assertEquals(component.hashes, [{ alg: "SHA-512", content: "010203" }]);
});

Deno.test("cratesIn() finds the crates whose source files a program names", () => {
  const place = "/home/me/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f";
  const names = ["wasm-bindgen-0.2.92/src/a.rs", "ash-0.38.0+1.3.281/b.rs", "base64-0.22.1/c.rs"];
  // The second lies over the border of what is searched at a time.
  const program = new Uint8Array((1 << 24) + 1000);
  [10, (1 << 24) - 50, (1 << 24) + 500].forEach((at, i) =>
    program.set(new TextEncoder().encode(`${place}/${names[i]}`), at)
  );
  assertEquals(cratesIn(program), [
    { name: "ash", version: "0.38.0+1.3.281" },
    { name: "base64", version: "0.22.1" },
    { name: "wasm-bindgen", version: "0.2.92" },
  ]);
  assertEquals(cratesIn(new TextEncoder().encode("/src/index.crates.io-x/a-1.0.0/b.rs")), []);
});

Deno.test("crateNotices() lists crates with licence and copyright, and each licence's text once", () => {
  const table = {
    b: { license: "MIT AND (Apache-2.0 WITH LLVM-exception OR ISC)", copyright: ["2020 B"] },
    a: { license: "MIT", copyright: ["2019 A", "2021 C"] },
  };
  const expected = ["MIT", "Apache-2.0", "LLVM-exception", "ISC"];
  assertEquals(licensesOf(table.b.license), expected);
  const text = crateNotices(table, (id) => `text of ${id}`);
  assertStringIncludes(text, `a: MIT\n    2019 A\n    2021 C\nb: ${table.b.license}\n    2020 B\n`);
  for (const id of expected) assertEquals(text.split(`text of ${id}\n`).length, 2, id);
  const crates = ["a", "toString", "toString"].map((name) => ({ name, version: "1.0.0" }));
  assertEquals(unknownCrates(table, crates), ["toString"]);
});

Deno.test("unzip() takes a file by the end of its name", () => {
  // Written by Python's zipfile: one file stored, one deflated.
  const archive = Uint8Array.fromBase64(ZIP);
  const text = (ending: string) => new TextDecoder().decode(unzip(archive, ending));
  assertEquals([text("/one"), text("/two")], ["first", "second ".repeat(8)]);
  assertThrows(() => unzip(archive, "/three"), Error, "no file whose name ends with /three");
  assertThrows(() => unzip(new Uint8Array(30), "x"), Error, "no zip archive");
});

const ZIP = "UEsDBBQAAAAAAAAAIVBX7nGSBQAAAAUAAAAFAAAAYS9vbmVmaXJzdFBLAwQUAAAACAAAACFQDjaTigwAAAA4" +
  "AAAABQAAAGIvdHdvK05Nzs9LUSgmlQIAUEsBAhQDFAAAAAAAAAAhUFfucZIFAAAABQAAAAUAAAAAAAAAAAAA" +
  "AIABAAAAAGEvb25lUEsBAhQDFAAAAAgAAAAhUA42k4oMAAAAOAAAAAUAAAAAAAAAAAAAAIABKAAAAGIvdHdv" +
  "UEsFBgAAAAACAAIAZgAAAFcAAAAAAA==";
