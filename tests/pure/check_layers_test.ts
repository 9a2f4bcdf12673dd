import { assertEquals } from "@std/assert";
import { violationsOf } from "../../scripts/check_layers.ts";

Deno.test("violationsOf() finds an import against the layers' direction, with its line", () => {
  const source = `/** A file. */\nimport type {\n  Runner,\n} from "../runtime/runner.ts";\n`;
  assertEquals(violationsOf("src/ops/add.ts", source), [
    "src/ops/add.ts:4: src/ops must not import src/runtime/runner.ts",
  ]);
  assertEquals(violationsOf("src/train/loop.ts", source), []);
});

Deno.test("violationsOf() lets only the runtime and the system import ffi, and ffi nothing", () => {
  const source = `import { Session } from "../../ffi/mod.ts";\n`;
  assertEquals(violationsOf("src/runtime/ort.ts", source), []);
  assertEquals(violationsOf("src/system/memory.ts", source), []);
  assertEquals(violationsOf("src/train/loop.ts", source).length, 1);
  assertEquals(violationsOf("ffi/api.ts", `export * from "../src/errors.ts";\n`).length, 1);
  assertEquals(violationsOf("ffi/api.ts", `await import("../src/graph/dtype.ts");\n`).length, 1);
});

Deno.test("violationsOf() finds host APIs in pure folders, but not in comments", () => {
  const source = `// Deno.readFile\n/* Deno.cwd() */\nconst text = Deno.readTextFileSync("x");\n`;
  assertEquals(violationsOf("src/graph/print.ts", source), [
    "src/graph/print.ts:3: src/graph is pure and must not use Deno.",
  ]);
  assertEquals(violationsOf("src/cli/main.ts", source), []);
});

Deno.test("violationsOf() refuses a folder that has no place in the table", () => {
  assertEquals(violationsOf("src/other/a.ts", "").length, 1);
});
