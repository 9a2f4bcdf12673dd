import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import OpenAI, { toFile } from "openai";
import { join } from "@std/path";
import { modelDir } from "../helpers/fixture_models.ts";
import { jobEvents, jobMessages } from "../helpers/job_events.ts";
import { hasOldHttp, servingWith } from "../helpers/serving.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

const NAME = "tiny-llama-genai-fp32";

const NO_ID = "0".repeat(24);

const ROWS = Array.from({ length: 12 }, (_, i) =>
  JSON.stringify({
    messages: [
      { role: "user", content: `turn on the light number ${i}` },
      { role: "assistant", content: `light ${i} is on` },
    ],
  })).join("\n");

/** `graft serve` that trains in a folder, with the client of OpenAI. */
function trainingIn(folder: string, ...args: string[]) {
  return trainingOn(NAME, folder, ...args);
}

async function trainingOn(model: string, folder: string, ...args: string[]) {
  const { child, stderr, url } = await servingWith(
    {},
    ...[modelDir(model), "-t", "1", "--jobs-dir", folder],
    ...args,
  );
  return {
    url,
    client: new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0 }),
    async [Symbol.asyncDispose]() {
      child.kill("SIGTERM");
      const { code } = await child.status;
      assertEquals(code, 0, await stderr);
    },
  };
}

const upload = async (client: OpenAI, content: string, name = "rows.jsonl") =>
  await client.files.create({
    file: await toFile(new Blob([content]), name),
    purpose: "fine-tune",
  });

async function until(
  client: OpenAI,
  id: string,
  reached: (job: OpenAI.FineTuning.FineTuningJob) => boolean | Promise<boolean>,
) {
  for (const start = performance.now(); performance.now() - start < 60_000;) {
    const job = await client.fineTuning.jobs.retrieve(id);
    if (await reached(job)) return job;
    await new Promise((done) => setTimeout(done, 100));
  }
  throw new Error(`The job is still ${(await client.fineTuning.jobs.retrieve(id)).status}`);
}

const steps = async (client: OpenAI, id: string) =>
  (await jobEvents(client, id)).filter(({ type }) => type === "metrics").length;

Deno.test("openai's client: a file is uploaded, trained on, and the model that came of it answers", async () => {
  await inTempDir(async (folder) => {
    let model: string;
    {
      await using server = await trainingIn(folder);
      const { client } = server;
      const file = await upload(client, ROWS);
      assertEquals([file.filename, file.bytes], ["rows.jsonl", ROWS.length]);
      assertEquals(await (await client.files.content(file.id)).text(), ROWS);
      const created = await client.fineTuning.jobs.create({
        model: NAME,
        training_file: file.id,
        validation_file: file.id,
        suffix: "lamp",
        seed: 3,
        method: {
          type: "supervised",
          supervised: { hyperparameters: { n_epochs: 2, learning_rate_multiplier: 20 } },
        },
      });
      assertEquals(created.status, "queued");
      const job = await until(client, created.id, ({ status }) => status === "succeeded");
      assert(job.fine_tuned_model!.startsWith(`ft:${NAME}:lamp:`));
      assertEquals(await steps(client, job.id) >= 6, true);
      const events = await jobEvents(client, job.id);
      const losses = events.flatMap(({ data }) =>
        (data as { train_loss?: number })?.train_loss ?? []
      );
      assert(losses[0] < losses.at(-1)!, `${losses}`);
      assert((await client.fineTuning.jobs.checkpoints.list(job.id)).data.length > 0);
      // A first page in answer would let clients that page through a list begin anew without end.
      const { jobs } = client.fineTuning;
      for (
        const list of [
          () => jobs.list({ after: "ftjob-unknown" }),
          () => jobs.listEvents(job.id, { after: "ftevent-unknown" }),
          () => jobs.checkpoints.list(job.id, { after: "ftckpt-unknown" }),
        ]
      ) {
        const { param } = await assertRejects(async () => await list(), OpenAI.BadRequestError);
        assertEquals(param, "after");
      }
      model = job.fine_tuned_model!;
      await client.files.delete(file.id);
      await assertRejects(() => client.files.retrieve(file.id), OpenAI.NotFoundError);
    }
    for (const record of [`jobs/ftjob-${NO_ID}/job.json`, `files/file-${NO_ID}/file.json`]) {
      Deno.mkdirSync(join(folder, record, ".."));
      Deno.writeTextFileSync(join(folder, record), "{");
    }
    // It is still there after a restart, whatever else is damaged.
    await using server = await trainingIn(folder);
    const { client } = server;
    assertEquals((await client.fineTuning.jobs.list()).data.length, 1);
    assertEquals((await client.files.list()).data, []);
    const listed = (await client.models.list()).data.map(({ id }) => id);
    assertEquals(listed, [NAME, model]);
    const ask = async (model: string) =>
      (await client.chat.completions.create({
        model,
        messages: [{ role: "user", content: "turn on the light number 3" }],
        max_tokens: 12,
        temperature: 0,
      })).choices[0].message.content;
    assert(await ask(model) !== await ask(NAME));
  });
});

Deno.test("graft serve: a job is paused, survives a restart, is resumed, and another one is cancelled", async () => {
  await inTempDir(async (folder) => {
    let id: string;
    const long = { n_epochs: 400 };
    {
      await using server = await trainingIn(folder);
      const { client } = server;
      const file = await upload(client, ROWS);
      const job = await client.fineTuning.jobs.create({
        model: NAME,
        training_file: file.id,
        hyperparameters: long,
      });
      id = job.id;
      await until(client, id, async () => await steps(client, id) > 3);
      const other = await client.fineTuning.jobs.create({ model: NAME, training_file: file.id });
      assertEquals(other.status, "queued");
      assertEquals((await client.fineTuning.jobs.cancel(other.id)).status, "cancelled");
      await assertRejects(() => client.fineTuning.jobs.cancel(other.id), OpenAI.BadRequestError);
      assertEquals((await client.fineTuning.jobs.pause(id)).status, "paused");
      await until(
        client,
        id,
        async () => (await client.fineTuning.jobs.checkpoints.list(id)).data.length > 0,
      );
      assertEquals((await client.fineTuning.jobs.resume(id)).status, "queued");
      await until(client, id, ({ status }) => status === "running");
    }
    await using server = await trainingIn(folder);
    const { client } = server;
    await until(client, id, ({ status }) => status === "running");
    const before = await steps(client, id);
    await until(client, id, async () => await steps(client, id) > before);
    assertEquals((await client.fineTuning.jobs.cancel(id)).status, "cancelled");
  });
});

Deno.test("graft serve: a job that cannot train fails with its reason, and uploads are checked", async () => {
  await inTempDir(async (folder) => {
    await using server = await trainingIn(folder, "--max-upload", "1");
    const { client, url } = server;
    const bad = await upload(client, '{"nothing": 1}\n');
    const job = await client.fineTuning.jobs.create({ model: NAME, training_file: bad.id });
    const failed = await until(client, job.id, ({ status }) => status === "failed");
    assertStringIncludes(failed.error!.message!, "train.jsonl");
    const refused = async (work: () => Promise<unknown>) =>
      (await assertRejects(work, OpenAI.APIError)).status;
    if (!hasOldHttp()) {
      assertEquals(await refused(() => upload(client, "x".repeat(1_100_000))), 413);
    }
    assertEquals(await refused(() => upload(client, "")), 400);
    const create = (more: object) =>
      client.fineTuning.jobs.create({ model: NAME, training_file: bad.id, ...more });
    for (
      const more of [
        { training_file: "file-../../etc/passwd" },
        { training_file: `file-${NO_ID}` },
        { suffix: "../x" },
        { hyperparameters: { n_epochs: 0 } },
        { method: { type: "dpo" } },
      ]
    ) assertEquals(await refused(() => create(more)), 400, JSON.stringify(more));
    assertEquals(await refused(() => create({ model: "other" })), 404);
    // A file's name is never a path.
    const named = await upload(client, ROWS, "../../x/y.jsonl");
    assert(!named.filename.includes("/"));
    const form = await fetch(`${url}/v1/files`, { method: "POST", body: "x" });
    await form.body?.cancel();
    assertEquals(form.status, 415);
  });
});

Deno.test("graft serve: a job whose record and events cannot be written ends, and not the server", async () => {
  await inTempDir(async (folder) => {
    await using server = await trainingIn(folder);
    const { client, url } = server;
    const file = await upload(client, ROWS);
    const job = await client.fineTuning.jobs.create({
      ...{ model: NAME, training_file: file.id },
      hyperparameters: { n_epochs: 1 },
    });
    // As if the disk were full.
    for (const name of ["job.json", "events.jsonl"]) {
      const path = `${folder}/jobs/${job.id}/${name}`;
      Deno.removeSync(path);
      Deno.mkdirSync(`${path}/in the way`, { recursive: true });
    }
    const { status, fine_tuned_model: model } = await until(
      client,
      job.id,
      ({ status }) => status === "succeeded" || status === "failed",
    );
    assertEquals(status, "succeeded");
    assert((await client.models.list()).data.some(({ id }) => id === model));
    assertEquals(await (await fetch(`${url}/health`)).json(), { status: "ok" });
  });
});

Deno.test("graft serve: a job on a classifier succeeds, and says where its adapter is", async () => {
  await inTempDir(async (folder) => {
    const model = "tiny-bert-torch-fp32";
    await using server = await trainingOn(model, folder);
    const { client, url } = server;
    const rows = Array.from(
      { length: 6 },
      (_, i) => JSON.stringify({ text: `light ${i}`, label: `class ${i % 3}` }),
    );
    const file = await upload(client, rows.join("\n"));
    const created = await client.fineTuning.jobs.create({ model, training_file: file.id });
    const job = await until(client, created.id, ({ status }) => /succeeded|failed/.test(status));
    assertEquals([job.status, job.fine_tuned_model], ["succeeded", null], job.error?.message);
    const [last] = await jobMessages(client, job.id);
    assertStringIncludes(last, "this server takes no adapters");
    const [, adapter] = /the adapter in (\S+) can be merged/.exec(last)!;
    assert(Deno.statSync(`${adapter}/adapter_model.safetensors`).isFile);
    const { features } = await (await fetch(`${url}/props`)).json();
    assertEquals([features.adapters, features.fine_tuning], [false, true]);
  });
});
