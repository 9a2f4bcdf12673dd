/** The committed reference is that of the verbs, and names every variable that the code reads. */
import { assert, assertEquals } from "@std/assert";
import { REFERENCE_PAGE, referencePage } from "../../scripts/reference.ts";
import { sourceFiles } from "../../scripts/source_files.ts";

Deno.test("docs/reference.md is what scripts/reference.ts writes", async () => {
  const page = await Deno.readTextFile(REFERENCE_PAGE);
  assertEquals(
    page,
    await referencePage(page),
    "run `deno run --allow-read --allow-env --allow-write=docs scripts/reference.ts`",
  );
});

const SOURCE = new URL("../../src/", import.meta.url).pathname;

/** Variables that only tests set. */
const FOR_TESTS = new Set(["GRAFT_SYSFS"]);

Deno.test("docs/reference.md names every environment variable that src reads", async () => {
  const page = await Deno.readTextFile(REFERENCE_PAGE);
  const names = new Set<string>();
  for (const path of sourceFiles(SOURCE)) {
    const text = await Deno.readTextFile(path);
    for (const [, name] of text.matchAll(/\b(?:env\.get|variable)\(\s*"([A-Z_]+)"/g)) {
      names.add(name);
    }
  }
  assert(names.size > 10, `found only ${[...names]}`);
  const missing = [...names].filter((name) =>
    !FOR_TESTS.has(name) && !new RegExp(`\\b${name}\\b`).test(page)
  );
  assertEquals(missing.sort(), []);
});
