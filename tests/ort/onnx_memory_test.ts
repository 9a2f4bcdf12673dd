import { assert, assertEquals } from "@std/assert";
import { forgetPeak, memoryOf } from "../../scripts/campaigns/hostile/process.ts";
import { decodeModel } from "../../src/onnx/mod.ts";
import { fileOf, message, smallModel } from "../helpers/onnx_messages.ts";

Deno.test("decodeModel() of 32 MB of int64_data takes what its tensor does, not objects", () => {
  const count = 32 << 20;
  const numbers = message("TensorProto", {
    name: "w",
    dataType: 7,
    dims: [BigInt(count)],
    int64Data: [new Uint8Array(count).fill(1)],
  });
  const file = fileOf(smallModel({ initializer: [numbers] }));
  forgetPeak();
  const before = memoryOf().residentBytes;
  const { graph } = decodeModel(file);
  assertEquals(graph.initializers.get("w")!.bytes.byteLength, 8 * count);
  // As lists of bigints they took 1.9 GB.
  const growth = memoryOf().peakBytes - before;
  assert(growth < 8 * count + (64 << 20), `memory grew by ${growth} bytes`);
});
