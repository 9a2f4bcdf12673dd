import { assertEquals } from "@std/assert";
import { join } from "@std/path";
import { DAMAGES, regularFilesIn } from "../../scripts/campaigns/damaged/damages.ts";
import { faultsOf } from "../../scripts/campaigns/damaged/faults.ts";
import { saveRandomAdapter } from "../helpers/adapter_folder.ts";
import { modelDir } from "../helpers/fixture_models.ts";
import { promotedModel } from "../helpers/promoted_model.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

const BASE = "tiny-llama-genai-int4";
const ID = "0".repeat(24);

const job = {
  id: `ftjob-${ID}`,
  state: "queued",
  model: "base",
  trainingFile: `file-${ID}`,
  parameters: {},
  created: 1,
};
const upload = { id: `file-${ID}`, filename: "x", bytes: 2, purpose: "fine-tune", created: 1 };

/** What a service keeps. */
function fill(root: string): void {
  const state = join(root, "state");
  promotedModel(modelDir(BASE), state, "0001");
  Deno.symlinkSync("models/0001/model", join(state, "current"));
  saveRandomAdapter(join(root, "adapters/lamp"), BASE, { seed: 1 });
  for (
    const [path, text] of [
      ["journal", "?\n"],
      [`jobs/jobs/${job.id}/job.json`, JSON.stringify(job)],
      [`jobs/jobs/${job.id}/events.jsonl`, "{}\n"],
      [`jobs/files/${upload.id}/file.json`, JSON.stringify(upload)],
      [`jobs/files/${upload.id}/content`, "{}"],
    ]
  ) {
    Deno.mkdirSync(join(state, path, ".."), { recursive: true });
    Deno.writeTextFileSync(join(state, path), text);
  }
}

// A share of campaign:damaged, which damages one file at a time. Where all of the model in use is damaged, the
// service ends: it never answers with a model that nobody chose.
for (const damage of ["zeros", "a pipe"]) {
  Deno.test(`graft service run answers though all beside its model is damaged: ${damage}`, () =>
    inTempDir(async (root) => {
      fill(root);
      const files = regularFilesIn(root).filter((path) => !path.startsWith("state/models/"));
      for (const path of files) DAMAGES[damage](join(root, path));
      assertEquals(await faultsOf(root), []);
    }));
}
