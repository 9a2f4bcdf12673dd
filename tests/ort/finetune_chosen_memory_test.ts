import { assertEquals } from "@std/assert";
import {
  type ChosenMemory,
  readChosenMemory,
  writeChosenMemory,
} from "../../src/finetune/chosen_memory.ts";

Deno.test("readChosenMemory() reads what was chosen, forms included, and only forms that there are", () => {
  const folder = Deno.makeTempDirSync({ prefix: "graft-chosen-" });
  try {
    assertEquals(readChosenMemory(folder), undefined);
    for (const integerForm of ["u8s8", "s8s8"] as const) {
      const chosen: ChosenMemory = {
        keepBytes: 1000,
        sequences: 2,
        shards: 4,
        stages: integerForm === "u8s8" ? 1 : 3,
        forms: {
          ...{ dequantForm: "arithmetic", integerForm },
          rotated: integerForm === "s8s8",
          sliced: integerForm === "u8s8",
        },
      };
      writeChosenMemory(folder, chosen);
      assertEquals(readChosenMemory(folder), chosen);
    }
    Deno.writeTextFileSync(
      `${folder}/memory.json`,
      '{"keep_bytes": 0, "sequences": 1, "lanes": 1, "forms": {"dequant": "magic", "integer": "s8s8"}}',
    );
    assertEquals(readChosenMemory(folder)?.forms, {
      dequantForm: undefined,
      integerForm: "s8s8",
      rotated: false,
      sliced: false,
    });
    for (
      const [keepBytes, sequences, shards] of [[-1, 1, 1], [0, 0, 1], [0, 1, 0], [0, 1, undefined]]
    ) {
      const text = JSON.stringify({ keep_bytes: keepBytes, sequences, lanes: shards });
      Deno.writeTextFileSync(`${folder}/memory.json`, text);
      assertEquals(readChosenMemory(folder), undefined, text);
    }
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});
