/** The folders of a service that has done all that fills them. */
import { join } from "@std/path";
import OpenAI, { toFile } from "openai";
import { EXIT } from "../../../src/errors.ts";
import { saveRandomAdapter } from "../../../tests/helpers/adapter_folder.ts";
import { modelDir } from "../../../tests/helpers/fixture_models.ts";
import { freePort } from "../../../tests/helpers/free_port.ts";
import { graftProcess, type GraftResult, startGraft } from "../../../tests/helpers/graft.ts";
import { pairs } from "../../../tests/helpers/training_runs.ts";
import { until } from "../../../tests/helpers/until.ts";

const BASE = "tiny-llama-genai-int4";
const MODEL = modelDir(BASE);

/** A running service. */
export interface Service {
  readonly url: string;
  readonly child: Deno.ChildProcess;
  readonly stderr: Promise<string>;
}

/** Starts the service over the folders below `root`; it may not answer yet. */
export function startService(root: string): Service {
  const port = freePort();
  const child = startGraft(
    ...["service", "run", "--model", MODEL, "--state", join(root, "state"), "-t", "1"],
    ...["--socket", join(root, "socket"), "--listen", `127.0.0.1:${port}`],
    ...["--jobs-dir", join(root, "state/jobs"), "--merged-dir", join(root, "state/merged")],
    ...["--lora-dir", join(root, "adapters")],
    ...["--lora-modules", `lamp=${join(root, "adapters/lamp")}`, "--lora-way", "merged"],
  );
  void child.stdout.cancel();
  const stderr = new Response(child.stderr).text();
  return { url: `http://127.0.0.1:${port}`, child, stderr };
}

/** Asks whether the service answers, for as long as it runs. */
export async function answers({ url, child }: Service): Promise<void> {
  let ended: number | undefined;
  void child.status.then(({ code }) => ended = code);
  await until("it answers", async () => {
    if (ended !== undefined) return true;
    const health = await fetch(`${url}/health`);
    await health.body?.cancel();
    return health.ok || undefined;
  }, 30_000);
  if (ended !== undefined) throw new Error(`it ended with ${ended}`);
}

/** A round of the service, with new rows. */
export function trainRound(root: string, rows: number): Promise<GraftResult> {
  const data = join(root, "data");
  Deno.writeTextFileSync(join(data, `${rows}.jsonl`), pairs(rows));
  return graftProcess(
    ...["service", "train", "--model", MODEL, "--data", data],
    ...["--train-config", join(root, "train.yaml"), "--state", join(root, "state")],
  );
}

/** Two promoted models, a merged adapter, and a job that has succeeded. */
export async function fillFolders(root: string): Promise<void> {
  Deno.mkdirSync(join(root, "data"), { recursive: true });
  Deno.writeTextFileSync(
    join(root, "train.yaml"),
    "iters: 40\nlearning_rate: 0.006\nsave_every: 20\ntarget_modules: [all-linear]\nthreads: 1\n",
  );
  for (const rows of [40, 60]) {
    const { code, stdout, stderr } = await trainRound(root, rows);
    if (code !== EXIT.ok && code !== EXIT.refused) throw new Error(`${stdout}${stderr}`);
  }
  saveRandomAdapter(join(root, "adapters/lamp"), BASE, { seed: 1 });
  const service = startService(root);
  await answers(service);
  const client = new OpenAI({ baseURL: `${service.url}/v1`, apiKey: "none", maxRetries: 0 });
  const file = await client.files.create({
    file: await toFile(new Blob([pairs(12)]), "rows.jsonl"),
    purpose: "fine-tune",
  });
  const { id } = await client.fineTuning.jobs.create({
    ...{ model: "base", training_file: file.id },
    hyperparameters: { n_epochs: 2 },
  });
  const job = await until("the job has ended", async () => {
    const job = await client.fineTuning.jobs.retrieve(id);
    return job.finished_at === null ? undefined : job;
  });
  if (job.status !== "succeeded") throw new Error(job.error?.message);
  await until("the job's adapter is merged", async () => {
    const list = await (await fetch(`${service.url}/lora-adapters`)).json();
    return list.some(({ way }: { readonly way: string }) => way === "merged");
  });
  service.child.kill("SIGTERM");
  const { code } = await service.child.status;
  if (code !== 0) throw new Error(await service.stderr);
}
