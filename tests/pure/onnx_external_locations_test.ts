import { assertEquals, assertThrows } from "@std/assert";
import { BadInputError } from "../../src/errors.ts";
import { externalLocations } from "../../src/onnx/mod.ts";
import { PLACEMENTS } from "../helpers/external_models.ts";
import { entry, fileOf, message, smallModel } from "../helpers/onnx_messages.ts";

Deno.test("externalLocations() finds data files in every place where a tensor can be", async (t) => {
  for (const [placement, modelWith] of Object.entries(PLACEMENTS)) {
    await t.step(placement, () => {
      assertEquals([...externalLocations(fileOf(modelWith("data/w")), "m")], ["data/w"]);
    });
  }
});

Deno.test("externalLocations() takes nothing for sizes that a small file claims", () => {
  const claimed = message("TensorProto", {
    name: "w",
    dims: [2n ** 42n],
    dataType: 1,
    dataLocation: 1,
    externalData: [entry("location", "w")],
  });
  const file = fileOf(smallModel({ initializer: [claimed] }));
  assertEquals([...externalLocations(file, "m")], ["w"]);
});

Deno.test("externalLocations() refuses what is no message of a model", () => {
  assertThrows(
    () => externalLocations(new Uint8Array(), "m"),
    BadInputError,
    "m: the file is empty",
  );
  assertThrows(() => externalLocations(new Uint8Array(50).fill(7), "m"), BadInputError, "no ONNX");
});
