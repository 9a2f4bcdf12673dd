import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { graftProcess as graft } from "../helpers/graft.ts";

Deno.test("graft doctor says that training can run here, and --json says it to programs", async () => {
  const { code, stdout, stderr } = await graft("doctor");
  assertEquals(code, 0, stderr);
  assertStringIncludes(stdout, "ONNX Runtime computes");
  assertStringIncludes(stdout, "graft can train, merge and run here");
  const { can_run, findings } = JSON.parse((await graft("doctor", "--json")).stdout);
  assertEquals(can_run, true);
  const ids = findings.map(({ id }: { id: string }) => id);
  for (const id of ["device.model", "cpu.cores", "memory.free", "folder.here", "ort.library"]) {
    assert(ids.includes(id), id);
  }
});

Deno.test("graft doctor ends with 1 where ONNX Runtime is no library, and names it", async () => {
  const { code, stdout } = await graft("doctor", "--ort-lib", "/nowhere/libonnxruntime.so");
  assertEquals(code, 1);
  assertStringIncludes(stdout, "/nowhere/libonnxruntime.so");
  assertStringIncludes(stdout, "PROBLEM");
});
