import { assertEquals } from "@std/assert";
import { formatError } from "../../src/cli/terminal/exit.ts";
import { asCommandLine } from "../../src/cli/parameter_names.ts";
import { UsageError } from "../../src/errors.ts";

Deno.test("asCommandLine() names parameters as flags, of another verb where they are of other work", () => {
  assertEquals(asCommandLine("minGainKept"), "--min-gain-kept");
  assertEquals(asCommandLine("ep", "cuda,cpu"), "--ep cuda,cpu");
  assertEquals(asCommandLine("method", "nearest"), "--method nearest");
  assertEquals(asCommandLine("method", "float"), "--dequantize");
  assertEquals(asCommandLine("maxTokens"), "-n");
  assertEquals(asCommandLine("train.adapterType", "scales"), "graft train --adapter-type scales");
});

Deno.test("formatError() names a library's parameter as the flag that sets it", () => {
  const error = new UsageError((name) => `Cannot write x: it exists; add ${name("force")}`);
  assertEquals(error.message, "Cannot write x: it exists; add force");
  assertEquals(formatError(error, false), "graft: Cannot write x: it exists; add --force");
});
