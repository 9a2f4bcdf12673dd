/** What requests over HTTP may change in the service: adapters of the base, and jobs that train them. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import OpenAI, { toFile } from "openai";
import { claimForRound } from "../../src/service/training_turns.ts";
import { saveRandomAdapter } from "../helpers/adapter_folder.ts";
import { modelDir } from "../helpers/fixture_models.ts";
import { freePort } from "../helpers/free_port.ts";
import { graft, startGraft } from "../helpers/graft.ts";
import { postJson } from "../helpers/http_server.ts";
import { jobMessages } from "../helpers/job_events.ts";
import { promotedModel } from "../helpers/promoted_model.ts";
import { inTempDir } from "../helpers/temp_dir.ts";
import { pairs } from "../helpers/training_runs.ts";
import { until } from "../helpers/until.ts";

const BASE = "tiny-llama-genai-fp32";

interface Service {
  readonly url: string;
  readonly client: OpenAI;
  /** Models that requests may name, the one in use first. */
  models(): Promise<string[]>;
  /** What a model continues a text with; the one in use if it has no name. */
  complete(model?: string): Promise<string>;
}

/** The service over HTTP, with more flags, in a folder where model 0001 is in use. */
async function withService(
  path: string,
  flags: readonly string[],
  body: (service: Service) => Promise<void>,
): Promise<void> {
  const state = join(path, "state");
  promotedModel(modelDir("tiny-llama-genai-int4"), state, "0001");
  Deno.symlinkSync("models/0001/model", join(state, "current"));
  const port = freePort();
  const child = startGraft(
    ...["service", "run", "--model", modelDir(BASE), "--state", state, "-t", "1"],
    ...["--socket", join(path, "socket"), "--listen", `127.0.0.1:${port}`, ...flags],
  );
  const [, log] = [child.stdout.cancel(), new Response(child.stderr).text()];
  const url = `http://127.0.0.1:${port}`;
  try {
    await until("it answers", async () => {
      const health = await fetch(`${url}/health`);
      await health.body?.cancel();
      return health.ok || undefined;
    });
    const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0 });
    await body({
      url,
      client,
      models: async () => (await client.models.list()).data.map(({ id }) => id),
      async complete(model) {
        const prompt = { prompt: "turn on the light", max_tokens: 12, temperature: 0 };
        const { status, json } = await postJson(`${url}/v1/completions`, { ...prompt, model });
        assertEquals(status, 200, JSON.stringify(json));
        return (json.choices as { text: string }[])[0].text;
      },
    });
  } finally {
    child.kill("SIGTERM");
    assertEquals((await child.status).code, 0, await log);
  }
}

Deno.test("graft service run: adapters answer from the pristine base, whatever model is in use", () =>
  inTempDir(async (path) => {
    saveRandomAdapter(join(path, "adapters/a"), BASE, { seed: 1 });
    await withService(path, ["--lora-dir", join(path, "adapters")], async (service) => {
      const { url, models, complete } = service;
      assertEquals(await models(), ["0001", "base"]);
      const props = await (await fetch(`${url}/props`)).json();
      assertEquals([props.model_alias, props.base_model], ["0001", "base"]);
      assertEquals([props.features.adapter_loading, props.features.fine_tuning], [true, false]);
      assertStringIncludes(await (await fetch(`${url}/`)).text(), "<html");
      const load = { lora_name: "lamp", lora_path: "a" };
      const { status, json } = await postJson(`${url}/v1/load_lora_adapter`, load);
      assertEquals([status, json.status], [200, "loaded"]);
      const [promoted, base, lamp] = await Promise.all(["0001", "base", "lamp"].map(complete));
      assertEquals(new Set([promoted, base, lamp]).size, 3);
      assertEquals(await complete(), promoted);
      const mixed = await postJson(`${url}/v1/completions`, {
        ...{ prompt: "turn on", model: "0001", lora: [{ id: 0, scale: 1 }] },
      });
      assertEquals(mixed.status, 400);
      assertStringIncludes(JSON.stringify(mixed.json), "0001 takes no adapters: name base");
      // The base in use is the one that is open.
      const back = await graft("service", "rollback", "--state", join(path, "state"));
      assertEquals(back.code, 0, back.stderr);
      await until("the base is in use", async () => (await models())[0] === "base" || undefined);
      assertEquals(await models(), ["base", "lamp"]);
      assertEquals([await complete(), await complete("lamp")], [base, lamp]);
    });
  }));

Deno.test("graft service run: a job trains the base, lets a round of the service go first, and its model answers", () =>
  inTempDir(async (path) => {
    const state = join(path, "state");
    await withService(path, ["--jobs-dir", join(state, "jobs")], async (service) => {
      const { client, models, complete } = service;
      const { jobs } = client.fineTuning;
      const file = await client.files.create({
        file: await toFile(new Blob([pairs(12)]), "rows.jsonl"),
        purpose: "fine-tune",
      });
      const create = (model: string, epochs: number) =>
        jobs.create({
          ...{ model, training_file: file.id },
          hyperparameters: { n_epochs: epochs, learning_rate_multiplier: 20 },
        });
      const refused = await create("0001", 1).catch((error) => error);
      assertStringIncludes(refused.message, "Jobs train base, not 0001");
      const reaches = (id: string, status: string) =>
        until(
          `the job is ${status}`,
          async () => (await jobs.retrieve(id)).status === status || undefined,
          60_000,
        );
      const messages = (id: string) => jobMessages(client, id);
      const long = await create("base", 1000);
      await until(
        "it trains",
        async () => (await messages(long.id)).some((message) => /^Step/.test(message)) || undefined,
        60_000,
      );

      // What a round does before it trains.
      let waits = 0;
      const never = new AbortController().signal;
      const turn = await claimForRound(state, never, () => waits++);
      await reaches(long.id, "queued");
      assertEquals(waits, 1);
      const told = await messages(long.id);
      assert(told.some((message) => message.startsWith("Lets a round of the service train first")));
      assert((await jobs.checkpoints.list(long.id)).data.length > 0);
      turn![Symbol.dispose]();
      await reaches(long.id, "running");
      await until("it goes on", async () => {
        const [newest] = await messages(long.id);
        return (newest !== told[0] && newest.startsWith("Step")) || undefined;
      });
      await jobs.cancel(long.id);

      const short = await create("base", 2);
      await reaches(short.id, "succeeded");
      const { fine_tuned_model: name } = await jobs.retrieve(short.id);
      assert((await models()).includes(name!));
      assert(await complete(name!) !== await complete("base"));
    });
  }));
