import { assert, assertEquals } from "@std/assert";
import { decodeSafetensors } from "../../src/safetensors/mod.ts";
import { comparePeftMethods, PEFT_METHODS } from "../helpers/peft_methods.ts";
import { inTempDir } from "../helpers/temp_dir.ts";
import { testWithPython } from "../helpers/requirements.ts";

/** Losses differ by what the sign of a tiny gradient, which decides Adam's first step, makes of rounding. */
const LOSS = 2e-4;

/** Those that no other test compares with PEFT, in forms of models that differ. */
const METHODS = [
  ...["LoRA+ with a saved module", "LoRA-FA", "PiSSA", "OLoRA", "LoftQ"],
  "ranks and alphas by layer",
];

testWithPython(
  ["torch", "peft", "transformers"],
  "fineTune() trains as PEFT does from its starts and with its optimisers, to an adapter that PEFT loads and that merges",
  () =>
    inTempDir(async (directory) => {
      const methods = PEFT_METHODS.filter(({ name }) => METHODS.includes(name));
      assertEquals(methods.length, METHODS.length);
      for (const found of await comparePeftMethods(methods, directory)) {
        const { name, trained, losses, startDifference = 0 } = found;
        assertEquals(trained[0], trained[1], `${name}: trained parameters`);
        assert(losses.at(-1)! < 0.75 * losses[0], `${name}: losses are ${losses}`);
        assert(startDifference <= 1e-4, `${name}: the start differs by ${startDifference}`);
        assert(found.lossDifference <= LOSS, `${name}: losses differ by ${found.lossDifference}`);
        assert(found.trainedDifference <= 2e-3, `${name}: ${found.trainedDifference} from PEFT's`);
        assert(found.loadedDifference <= 1e-5, `${name}: ${found.loadedDifference} in PEFT`);
        assert(found.mergedDifference <= 1e-5, `${name}: ${found.mergedDifference} merged`);
        if (found.folders.converted !== undefined) {
          assertConverted(found.folders.adapter, found.folders.converted);
        }
      }
    }),
);

/** PEFT's way to save a start from the weights as the adapter of the unchanged base. */
function assertConverted(adapter: string, converted: string): void {
  const [own, peft] = [adapter, converted].map((folder) => ({
    config: JSON.parse(Deno.readTextFileSync(`${folder}/adapter_config.json`)),
    tensors: decodeSafetensors(Deno.readFileSync(`${folder}/adapter_model.safetensors`)).tensors,
  }));
  for (const key of ["r", "lora_alpha", "init_lora_weights", "rank_pattern", "use_rslora"]) {
    assertEquals(own.config[key], peft.config[key], key);
  }
  for (const [name, { dims }] of peft.tensors) assertEquals(own.tensors.get(name)?.dims, dims);
}
