/** The committed table of operators is the registry's. */
import { assertEquals } from "@std/assert";
import { operatorsPage } from "../../scripts/operators.ts";

Deno.test("docs/operators.md is what scripts/operators.ts writes", async () => {
  const path = new URL("../../docs/operators.md", import.meta.url);
  assertEquals(
    await Deno.readTextFile(path),
    operatorsPage(),
    "run `deno run --allow-write=docs scripts/operators.ts`",
  );
});
