/** `graft merge` of a model whose weights lie in a subfolder. */
import { join } from "@std/path";
import { modelDir, referenceDir } from "../../../../tests/helpers/fixture_models.ts";
import { graft } from "../../../../tests/helpers/graft.ts";
import { graftWords } from "../graft_words.ts";
import type { PowerCase } from "../replay.ts";
import { writeSubfolderModel } from "../subfolder_model.ts";
import { modelCase } from "./models.ts";

/** @param base folder for the model that is merged into, which is not recorded */
export function mergeCases(base: string): readonly PowerCase[] {
  writeSubfolderModel(join(modelDir("tiny-llama-genai-int4"), "model.onnx"), base);
  const args = (target: string, weight: number) => [
    ...["merge", "--model", base, "--method", "nearest", "--adapter-weights", `${weight}`],
    ...["--adapter-path", `${referenceDir("tiny-llama-int4.all")}/adapter_after_10_steps`],
    ...["--save-path", target, "--force"],
  ];
  const done = /^Saved the merged model in /;
  const words = (target: string) => graftWords(...args(target, 1));
  const verb = { words, done, onDisk: true };
  return [
    modelCase("graft merge", { ...verb, target: "made/anew/merged" }),
    modelCase("graft merge --force", {
      ...verb,
      target: "merged",
      async old(target) {
        const { code, stderr } = await graft(...args(target, 2));
        if (code !== 0) throw new Error(stderr);
      },
    }),
  ];
}
