/** Tensors in a device's memory, with the host's as the device: the same calls, another name. */
import { assert, assertEquals } from "@std/assert";
import { float32, toNumbers } from "../../src/graph/tensor.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { oldestOrt } from "../helpers/oldest_ort.ts";
import { tinyModel } from "../helpers/ort.ts";
import { runnerCases } from "../helpers/runner_cases.ts";

runnerCases("tensors on a device", { memory: "Cpu" });
const oldest = await oldestOrt();
if ("path" in oldest) {
  runnerCases("tensors on a device, the oldest supported library", {
    memory: "Cpu",
    ortLib: oldest.path,
  });
}

Deno.test("what runs give stays on the device until it is read", async () => {
  using runner = createOrtRunner({ memory: "Cpu" });
  assert(!runner.inPlace);
  using executable = await runner.compile(tinyModel({
    inputs: { x: ["float32", [2]] },
    outputs: { y: ["float32", [2]] },
    nodes: [["Add", ["x", "x"], ["y"]]],
  }));
  let x = runner.upload(float32([2], [1, 2]));
  for (let i = 0; i < 3; i++) {
    const { y } = await executable.run({ x });
    x[Symbol.dispose]();
    x = y;
  }
  assertEquals(runner.traffic, { uploadedBytes: 8, readBytes: 0 });
  assertEquals([...toNumbers(x.read())], [8, 16]);
  x.write(float32([2], [3, 5]));
  assertEquals([...toNumbers(x.read())], [3, 5]);
  x[Symbol.dispose]();
  assertEquals(runner.traffic, { uploadedBytes: 16, readBytes: 16 });
});
