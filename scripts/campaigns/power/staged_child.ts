/**
 * A model written for power losses: `staged_child.ts TARGET TEXT`, in the place of what is there.
 *
 * It has a data file in a folder of its own, as some exporters leave them. Prints `saved` at the end.
 */
import { StagedDirectory } from "../../../src/model/staged_directory.ts";

/** Writes a model whose files have this content. */
export function writeModelOf(text: string, target: string): void {
  const bytes = new TextEncoder().encode(`${text}\n`.repeat(200));
  using staged = new StagedDirectory(target);
  staged.write("model.onnx", [bytes.subarray(0, 700), bytes.subarray(700)]);
  staged.write("weights/layers/0.data", [bytes]);
  staged.replace("config.json", new TextEncoder().encode(JSON.stringify(text)));
  staged.commit(true);
}

if (import.meta.main) {
  const [target, text] = Deno.args;
  writeModelOf(text, target);
  console.log("saved");
}
