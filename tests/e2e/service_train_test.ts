import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { modelDir } from "../helpers/fixture_models.ts";
import { graft, graftProcess, graftSignalled } from "../helpers/graft.ts";
import { promotedModel } from "../helpers/promoted_model.ts";
import { pairs, requests, sha256 } from "../helpers/training_runs.ts";
import { inTime } from "../helpers/in_time.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

const MODEL = modelDir("tiny-llama-genai-int4");
const ADAPTER = "models/0001/adapter/adapter_model.safetensors";

function config(path: string, text: string): string {
  Deno.writeTextFileSync(path, text);
  return path;
}

Deno.test("graft service train that SIGTERM or SIGKILL ends goes on with the next start, to the same bytes", () =>
  inTime(() =>
    inTempDir(async (path) => {
      const data = join(path, "data");
      Deno.mkdirSync(data);
      Deno.writeTextFileSync(join(data, "first.jsonl"), pairs(40));
      const yaml = config(
        join(path, "train.yaml"),
        "iters: 80\nlearning_rate: 0.006\nsave_every: 10\ntarget_modules: [all-linear]\nthreads: 1\n",
      );
      const args = (state: string) => [
        ...["service", "train", "--model", MODEL],
        ...["--data", data, "--train-config", yaml, "--state", join(path, state)],
      ];
      const stopped = await graftSignalled(/: saved /, "SIGTERM", ...args("state"));
      assertEquals([stopped.code, stopped.stdout.trim()], [
        130,
        "Stopped; the next start continues",
      ]);
      const waiting = await graft("service", "status", "--state", join(path, "state"), "--json");
      const { cycle, in_use, journal } = JSON.parse(waiting.stdout);
      assertEquals([cycle.done, in_use, journal.at(-1).step], ["begun", "base", "interrupted"]);

      // Killed alone, the job leaves its training behind: the next start ends it first.
      const killed = await graftSignalled(/: saved /, "SIGKILL", ...args("state"));
      assertEquals(killed.code, 137);
      const resumed = await graftProcess(...args("state"));
      assertEquals(resumed.code, 0, resumed.stderr);
      assertStringIncludes(resumed.stderr, "Resuming from");
      assertStringIncludes(resumed.stdout, "Model 0001 is in use now");
      const straight = await graftProcess(...args("straight"));
      assertEquals(straight.code, 0, straight.stderr);
      assertEquals(
        await sha256(join(path, "state", ADAPTER)),
        await sha256(join(path, "straight", ADAPTER)),
      );
      const again = await graft(...args("state"));
      assertEquals([again.code, again.stdout.trim()], [0, `There is no new data in ${data}`]);
      const back = await graft("service", "rollback", "--state", join(path, "state"));
      assertEquals([back.code, back.stdout.trim()], [0, "In use now: the base"]);
      const further = await graft("service", "rollback", "--state", join(path, "state"));
      assertEquals(further.code, 2);
    })
  ));

Deno.test("graft service train measures a first classifier against guessing", () =>
  inTempDir(async (path) => {
    const state = join(path, "state");
    Deno.mkdirSync(join(state, "data"), { recursive: true });
    Deno.writeTextFileSync(join(state, "data/requests.csv"), requests(60));
    const yaml = config(
      join(path, "train.yaml"),
      "iters: 60\nlearning_rate: 0.01\ntarget_modules: [all-linear]\nthreads: 1\nvalidation_split: 0.3\n",
    );
    const args = [
      ...["service", "train", "--model", modelDir("tiny-bert-dynamic-int8"), "--state", state],
      ...["--train-config", yaml],
    ];
    const { code, stdout, stderr } = await graftProcess(...args);
    assertEquals(code, 0, stderr);
    assertStringIncludes(stdout, "Model 0001 is in use now");
    assertMatch(stderr, /held-out loss [\d.]+, guessing [\d.]+/);
    assert(!stderr.includes("internal error"), stderr);
  }));

/** A service's folder with data, and rounds over it. */
function serviceIn(path: string) {
  const [state, data] = [join(path, "state"), join(path, "data")];
  Deno.mkdirSync(data);
  const round = async (margin: number, iters: number) => {
    const yaml = config(
      join(path, "train.yaml"),
      `iters: ${iters}\nlearning_rate: 0.01\ntarget_modules: [all-linear]\nthreads: 1\n`,
    );
    const { code, stdout, stderr } = await graftProcess(
      ...["service", "train", "--model", MODEL, "--state", state],
      ...["--data", data, "--train-config", yaml, "--promote-margin", `${margin}`, "--keep", "1"],
    );
    assertEquals(code, 0, stderr);
    const status = await graft("service", "status", "--state", state, "--json", "--last=100");
    const { in_use: inUse, journal } = JSON.parse(status.stdout);
    const begun = journal.findLast(({ step }: { step: string }) => step === "begun");
    const models = [...Deno.readDirSync(join(state, "models"))].map(({ name }) => name).sort();
    return { said: stdout + stderr, inUse, begun, models };
  };
  return { state, data, round };
}

Deno.test("graft service train learns from all rows in the folder, rejects what is not better by the margin, says which rows are gone, and keeps the last models alone", () =>
  inTempDir(async (path) => {
    const { state, data, round } = serviceIn(path);
    const rows = (from: number, to: number) =>
      pairs(to).trim().split("\n").slice(from).map((line) => `${line}\n`).join("");
    Deno.writeTextFileSync(join(data, "monday.jsonl"), rows(0, 12));
    // A model from before, of which nothing else is known.
    promotedModel(MODEL, state, "0001");
    Deno.symlinkSync("models/0001/model", join(state, "current"));
    const first = await round(0, 10);
    assertEquals([first.inUse, first.models], ["0002", ["0001", "0002"]], first.said);
    Deno.writeTextFileSync(join(data, "tuesday.jsonl"), rows(12, 20));
    const rejected = await round(1, 20);
    assertEquals([rejected.inUse, rejected.models], ["0002", ["0001", "0002"]]);
    assertMatch(rejected.said, /rejected/);
    const { begun } = rejected;
    assertEquals([begun.rows + begun.heldOut, begun.forgotten], [20, undefined]);
    // The same rows by another name are still there; Monday's are not.
    Deno.removeSync(join(data, "monday.jsonl"));
    Deno.renameSync(join(data, "tuesday.jsonl"), join(data, "wednesday.jsonl"));
    const third = await round(0, 40);
    const { forgotten } = third.begun;
    assert(forgotten >= 12 - first.begun.heldOut, JSON.stringify(third.begun));
    assertStringIncludes(third.said, `learns without ${forgotten} rows that model 0002 learned`);
    assertEquals([third.inUse, third.models], ["0004", ["0002", "0004"]], third.said);
  }));

Deno.test("graft service ask says that no service runs", () =>
  inTempDir(async (path) => {
    const { code, stderr } = await graft("service", "ask", "--socket", join(path, "none"), "hello");
    assertEquals(code, 69);
    assertStringIncludes(stderr, "The service does not answer on");
  }));
