import { assertEquals, assertStringIncludes } from "@std/assert";
import { saveRandomAdapter } from "../helpers/adapter_folder.ts";
import OpenAI, { toFile } from "openai";
import { MINILM_DIR, modelDir } from "../helpers/fixture_models.ts";
import { postJson } from "../helpers/http_server.ts";
import { graft } from "../helpers/graft.ts";
import { servingWith } from "../helpers/serving.ts";
import { inTempDir } from "../helpers/temp_dir.ts";
import { until } from "../helpers/until.ts";

const NAME = "tiny-llama-genai-fp32";
const LLAMA = modelDir(NAME);

async function lampOf(url: string) {
  const [lamp] = await (await fetch(`${url}/lora-adapters`)).json();
  return lamp;
}

Deno.test("graft serve --merged-dir merges an adapter in the background, keeps it for its next start, and stops in the middle of one", async () => {
  await inTempDir(async (folder) => {
    saveRandomAdapter(`${folder}/lamp`, NAME, { seed: 1 });
    const flags = [
      ...[LLAMA, "-t", "1", "--lora-modules", `lamp=${folder}/lamp`],
      ...["--merged-dir", `${folder}/merged`, "--lora-way", "merged"],
    ];
    const first = await servingWith({}, ...flags);
    const lamp = await until("the adapter is merged", async () => {
      const one = await lampOf(first.url);
      return one.way === "merged" ? one : undefined;
    });
    assertEquals([lamp.adapter_generation, lamp.merge.state], [2, "done"]);
    const answer = await (await fetch(`${first.url}/v1/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ model: "lamp", prompt: "turn on", max_tokens: 12, temperature: 0 }),
    })).json();
    assertEquals(answer.adapter_generation, 2);
    const [{ name }] = [...Deno.readDirSync(`${folder}/merged`)];
    const run = ["run", `${folder}/merged/${name}`, "-n", "12", "--json", "-t", "1", "--raw"];
    const { stdout } = await graft(...run, "turn on");
    assertEquals(answer.choices[0].text, JSON.parse(stdout).text);
    first.child.kill("SIGTERM");
    assertEquals((await first.child.status).code, 0);
    assertStringIncludes(await first.stderr, "lamp answers merged: ");

    // The folder's own merge is used at once; another adapter's is cut off.
    saveRandomAdapter(`${folder}/mill`, NAME, { seed: 2 });
    const second = await servingWith({}, ...flags, "--lora-modules", `mill=${folder}/mill`);
    second.child.kill("SIGTERM");
    assertEquals((await second.child.status).code, 0);
    const left = [...Deno.readDirSync(`${folder}/merged`)];
    assertEquals(left.some((entry) => entry.name === name), true);
  });
});

Deno.test("graft serve refuses --lora-way merged without a folder, and --merged-dir with --adapter-path", async () => {
  const without = await graft("serve", LLAMA, "--lora-way", "merged");
  assertEquals(without.code, 2);
  assertStringIncludes(without.stderr, "--merged-dir");
  const both = await graft("serve", LLAMA, "--merged-dir", "m", "--adapter-path", "a");
  assertEquals(both.code, 2);
  assertStringIncludes(both.stderr, "--lora-modules");
});

Deno.test("graft serve --merged-dir: a job on labelled rows makes a classifier that requests name, after a restart too", async () => {
  await inTempDir(async (folder) => {
    const flags = [
      ...[MINILM_DIR, "-t", "1", "--jobs-dir", `${folder}/jobs`],
      ...["--merged-dir", `${folder}/merged`],
    ];
    const rows = Array.from(
      { length: 24 },
      (_, i) => i % 2 === 0 ? `turn on lamp ${i},light` : `play song number ${i},music`,
    );
    const classOf = async (url: string, model: string) => {
      const { status, json } = await postJson(`${url}/v1/classify`, {
        model,
        input: "play a song",
      });
      return status === 200 ? (json.data as { label: string }[])[0].label : undefined;
    };
    const first = await servingWith({}, ...flags);
    const client = new OpenAI({ baseURL: `${first.url}/v1`, apiKey: "none" });
    const content = ["text,label", ...rows].join("\n");
    const file = await client.files.create({
      file: await toFile(new Blob([content]), "rows.csv"),
      purpose: "fine-tune",
    });
    const { id } = await client.fineTuning.jobs.create({
      model: "all-minilm-l6-v2-int8",
      training_file: file.id,
      hyperparameters: { n_epochs: 4, batch_size: 8, learning_rate_multiplier: 20 },
    });
    const model = await until("the job has succeeded", async () => {
      const { status, fine_tuned_model, error } = await client.fineTuning.jobs.retrieve(id);
      assertEquals(error, null);
      return status === "succeeded" ? fine_tuned_model! : undefined;
    }, 180_000);
    assertEquals(await until("it answers", () => classOf(first.url, model), 180_000), "music");
    first.child.kill("SIGTERM");
    assertEquals((await first.child.status).code, 0, await first.stderr);
    const second = await servingWith({}, ...flags);
    assertEquals(await until("it answers", () => classOf(second.url, model)), "music");
    second.child.kill("SIGTERM");
    assertEquals((await second.child.status).code, 0, await second.stderr);
  });
});
