/**
 * What graft holds while it works for a long time: memory of its own, open files, threads, mappings.
 * A service that is asked and swapped all the time, with an encoder and with a language model, and
 * trainings of many epochs. Prints a JSON line each; ends with 1 where one goes on growing, which all
 * do in their first minutes.
 *
 * usage: deno run -A scripts/campaigns/soak.ts [MINUTES of each, default 10]
 */
import { join } from "@std/path";
import { MINILM_DIR, modelDir } from "../../tests/helpers/fixture_models.ts";
import { pairs } from "../../tests/helpers/training_runs.ts";
import { soakService } from "./soak/service_soak.ts";
import { soakTraining } from "./soak/training_soak.ts";

const minutes = Number(Deno.args[0] ?? 10);
if (!(minutes > 0)) {
  console.error(`graft: MINUTES must be > 0: current value is ${Deno.args[0]}`);
  Deno.exit(2);
}
const folder = Deno.makeTempDirSync({ prefix: "graft-soak-" });
const llama = modelDir("tiny-llama-genai-int4");
const data = join(folder, "pairs.jsonl");
Deno.writeTextFileSync(data, pairs(200));
const training = (model: string, ...flags: readonly string[]) => () => {
  const adapter = Deno.makeTempDirSync({ dir: folder });
  return soakTraining(["--model", model, "--adapter-path", adapter, ...flags], minutes);
};
const toLearn = ["--data", "quickstart", "--target-modules", "all-linear"];

const runs = {
  "service, encoder": () => soakService(MINILM_DIR, join(folder, "encoder"), minutes),
  "service, language model": () => soakService(llama, join(folder, "causal"), minutes),
  "training, encoder": training("default", ...toLearn),
  "training, language model": training(llama, "--data", data, "--numeric", "fast"),
};
let sound = true;
try {
  for (const [what, run] of Object.entries(runs)) {
    const figures = await run();
    sound &&= figures.faults.length === 0;
    console.log(JSON.stringify({ what, minutes, ...figures }));
  }
} finally {
  Deno.removeSync(folder, { recursive: true });
}
Deno.exit(sound ? 0 : 1);
