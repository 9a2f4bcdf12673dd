import { assert, assertEquals, assertThrows } from "@std/assert";
import { BadInputError, UsageError } from "../../src/errors.ts";
import {
  checkFilePath,
  checkRevision,
  folderOf,
  globExpression,
  parseModelName,
  repositoryOf,
} from "../../src/hub/names.ts";
import { retryAfterMs } from "../../src/hub/transient.ts";

Deno.test("parseModelName() reads repository, revision and variant", () => {
  assertEquals(parseModelName("org/name"), {
    repository: "org/name",
    revision: undefined,
    variant: undefined,
  });
  assertEquals(parseModelName("gpt2@refs/pr/3:q4f16"), {
    repository: "gpt2",
    revision: "refs/pr/3",
    variant: "q4f16",
  });
});

Deno.test("parseModelName() takes no paths, and no name that leaves the cache", () => {
  for (
    const text of [
      "",
      "..",
      "./name",
      "/etc/passwd",
      "org/../name",
      "a/b/c",
      "org/na--me",
      "org/name.git",
      "org/.name",
      "org/name@../x",
      "org/name@/x",
      "org/name@a//b",
      "org/name:a/b",
      "org/name\n",
      "x".repeat(97),
    ]
  ) assertEquals(parseModelName(text), undefined, text);
});

Deno.test("repositoryOf() reads what folderOf() wrote", () => {
  assertEquals(folderOf("org/name"), "models--org--name");
  assertEquals(repositoryOf("models--org--name"), "org/name");
  assertEquals(repositoryOf("datasets--org--name"), undefined);
});

Deno.test("checkRevision() names what is none", () => {
  assertEquals(checkRevision("v1.0"), "v1.0");
  assertThrows(() => checkRevision("../main"), UsageError, '"../main"');
});

Deno.test("checkFilePath() refuses what could leave its root, and names it", () => {
  assertEquals(checkFilePath("onnx/model.onnx", "hub"), "onnx/model.onnx");
  for (
    const path of ["", "..", "../x", "a/../../x", "a//b", "/x", "a/.", ".", "a\\b", "a\0b", "a\nb"]
  ) assertThrows(() => checkFilePath(path, "the hub"), BadInputError, "the hub");
});

Deno.test("globExpression() reads patterns as Python's fnmatch", () => {
  const matches = (pattern: string, path: string) => globExpression(pattern).test(path);
  assert(matches("*.json", "a/b.json"));
  assert(matches("onnx/", "onnx/model.onnx"));
  assert(matches("model_?4.onnx", "model_q4.onnx"));
  assert(matches("[ab].txt", "a.txt"));
  assert(!matches("[!ab].txt", "a.txt"));
  assert(!matches("*.json", "a.jsonl"));
  assert(!matches("a.b", "axb"));
  assert(matches("(x)+", "(x)+"));
});

Deno.test("retryAfterMs() reads seconds and dates", () => {
  assertEquals(retryAfterMs("7", 0), 7000);
  assertEquals(retryAfterMs("Thu, 01 Jan 1970 00:00:09 GMT", 4000), 5000);
  assertEquals(retryAfterMs("Thu, 01 Jan 1970 00:00:09 GMT", 40_000), 0);
  assertEquals(retryAfterMs("soon", 0), undefined);
  assertEquals(retryAfterMs(null, 0), undefined);
});
