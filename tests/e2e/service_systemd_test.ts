import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import OpenAI, { toFile } from "openai";
import { freePort } from "../helpers/free_port.ts";
import { modelDir } from "../helpers/fixture_models.ts";
import { jobMessages } from "../helpers/job_events.ts";
import { type Systemd, testUnderSystemd } from "../helpers/systemd.ts";
import { until } from "../helpers/until.ts";
import { install, override } from "../helpers/systemd_service.ts";
import { graftProcess } from "../helpers/graft.ts";
import { pairs, sha256 } from "../helpers/training_runs.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

const MODEL = modelDir("tiny-llama-genai-int4");

async function mainPid(systemd: Systemd): Promise<string> {
  return (await systemd.show("graft.service")).MainPID;
}

testUnderSystemd(
  "graft service install starts a hardened service that is ready once its model answers",
  async (systemd) => {
    const said = await install(systemd, "default");
    assertStringIncludes(said, "Wrote /etc/systemd/system/graft.service");
    const unit = await systemd.show("graft.service");
    assertEquals(unit.ActiveState, "active");
    assertEquals(unit.StatusText, "Answers with the base on /run/graft/socket");
    // restart waited for READY=1: the model had answered by then
    const { code, stdout, stderr } = await systemd.graft("service", "ask", "my card");
    assertEquals(code, 0, stderr);
    const { model, embedding } = JSON.parse(stdout);
    assertEquals([model, embedding.length], ["base", 384]);
    const ready = (await systemd.journal("graft.service")).find(({ GRAFT_EVENT }) =>
      GRAFT_EVENT === "ready"
    );
    assertEquals([ready?.GRAFT_MODEL, ready?.PRIORITY], ["base", "5"]);
    for (const name of ["graft.service", "graft-train.service"]) {
      const { stdout } = await systemd.run("systemd-analyze", "security", "--no-pager", name);
      const exposure = Number(/exposure level for \S+: ([\d.]+)/.exec(stdout)?.[1]);
      assert(exposure <= 1.5, stdout);
    }
    const status = await systemd.graft("service", "status");
    assertMatch(status.stdout, /graft\.service +active \(running\)/);
    assertMatch(status.stdout, /graft-train\.timer +active \(waiting\)/);
    assert(!/not installed|graft-fleet|graft-follow/.test(status.stdout), status.stdout);

    const removed = await systemd.graft("service", "uninstall", "--purge");
    assertEquals(removed.code, 0, removed.stderr);
    assertEquals((await systemd.show("graft.service")).LoadState, "not-found");
    assertEquals(
      (await systemd.run("ls", "/var/lib/private", "/opt/graft")).stdout.trim(),
      "/var/lib/private:",
    );
  },
);

testUnderSystemd(
  "graft service install --listen answers over HTTP without a network of its own, and over a restart",
  async (systemd) => {
    const [hostname, port] = ["127.0.0.1", freePort()];
    await install(systemd, MODEL, "--listen", `${hostname}:${port}`);
    const url = `http://${hostname}:${port}`;
    const complete = async () => {
      const response = await fetch(`${url}/v1/completions`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ prompt: "my card", max_tokens: 4, temperature: 0 }),
      });
      return { status: response.status, json: await response.json() };
    };
    const first = await complete();
    assertEquals([first.status, first.json.model], [200, "base"]);
    // A compiled program of an older Deno has to listen itself.
    const { LoadState } = await systemd.show("graft.socket");
    if (Deno.env.has("GRAFT_BINARY") && LoadState === "not-found") return;
    // The service itself has no network.
    const pid = await mainPid(systemd);
    const links = (await systemd.run("ls", "-l", `/proc/1/ns/net`, `/proc/${pid}/ns/net`)).stdout
      .match(/net:\[\d+\]/g);
    assertEquals(new Set(links).size, 2);
    // A request that comes while it restarts waits for it.
    const restarted = systemd.run("systemctl", "restart", "graft.service");
    await until("it is down, or was", async () => {
      const { ActiveState, MainPID } = await systemd.show("graft.service");
      return ActiveState !== "active" || MainPID !== pid || undefined;
    });
    const during = await complete();
    assertEquals([during.status, during.json.choices], [200, first.json.choices]);
    assertEquals((await restarted).code, 0);
    assert(await mainPid(systemd) !== pid);
    // Without the flag it is gone.
    assertStringIncludes(await install(systemd, MODEL), "Removed /etc/systemd/system/graft.socket");
    assertEquals((await systemd.show("graft.socket")).LoadState, "not-found");
  },
);

testUnderSystemd(
  "graft service install --jobs trains what requests ask for inside the unit, behind everything else",
  async (systemd) => {
    const [hostname, port] = ["127.0.0.1", freePort()];
    await install(systemd, MODEL, "--listen", `${hostname}:${port}`, "--jobs");
    const baseURL = `http://${hostname}:${port}/v1`;
    const client = new OpenAI({ baseURL, apiKey: "none", maxRetries: 0 });
    const file = await client.files.create({
      file: await toFile(new Blob([pairs(12)]), "rows.jsonl"),
      purpose: "fine-tune",
    });
    const { jobs } = client.fineTuning;
    const long = await jobs.create({
      ...{ model: "base", training_file: file.id },
      hyperparameters: { n_epochs: 1000 },
    });
    const messages = () => jobMessages(client, long.id);
    const step = (message: string) => message.startsWith("Step");
    await until("it trains", async () => (await messages()).some(step) || undefined);
    const service = await mainPid(systemd);
    const { stdout } = await systemd.run("ps", "-o", "ni=,pid=,args=", "--ppid", service);
    const [, nice, training] = /^ *(\d+) +(\d+) .* train .*--adapter-path/m.exec(stdout) ?? [];
    assertEquals(nice, "19", stdout);
    // As by the kernel when memory is short: the service stays, and the job goes on.
    await systemd.run("kill", "-KILL", training);
    await until("it goes on", async () => {
      const told = await messages();
      const killed = told.findIndex((message) => message.startsWith("Goes on after"));
      return (killed > 0 && told.slice(0, killed).some(step)) || undefined;
    });
    assertEquals(await mainPid(systemd), service);
    assertEquals((await jobs.cancel(long.id)).status, "cancelled");
  },
);

testUnderSystemd(
  "graft service is restarted by the watchdog when it hangs, and ends in order",
  async (systemd) => {
    await install(systemd, MODEL, "--no-start");
    await override(systemd, "graft.service", "WatchdogSec=2", "TimeoutAbortSec=1");
    const started = await systemd.run("systemctl", "start", "graft.service");
    assertEquals(started.code, 0, started.stderr);
    const first = await mainPid(systemd);
    await new Promise((resolve) => setTimeout(resolve, 4000));
    assertEquals(await mainPid(systemd), first, "pings keep it alive");

    await systemd.run("kill", "-STOP", first);
    const second = await until("the watchdog has it restarted", async () => {
      const { MainPID, ActiveState } = await systemd.show("graft.service");
      return ActiveState === "active" && MainPID !== first ? MainPID : undefined;
    });
    const { NRestarts } = await systemd.show("graft.service");
    assertEquals(NRestarts, "1");
    const answered = await systemd.graft("service", "ask", "my card");
    assertEquals(answered.code, 0, answered.stderr);

    await systemd.run("systemctl", "stop", "graft.service");
    const { Result, ExecMainStatus } = await systemd.show("graft.service");
    assertEquals([Result, ExecMainStatus], ["success", "0"]);
    const ended = (await systemd.journal("graft.service")).findLast(({ GRAFT_EVENT }) =>
      GRAFT_EVENT === "ended"
    );
    assertEquals([ended?._PID, ended?.MESSAGE], [second, "Ended in order"]);
  },
);

testUnderSystemd(
  "graft-train.service resumes a killed training exactly, promotes, and the service follows",
  async (systemd) => {
    await inTempDir(async (path) => {
      const data = join(path, "data");
      Deno.mkdirSync(data);
      Deno.writeTextFileSync(join(data, "first.jsonl"), pairs(40));
      const config = join(path, "train.yaml");
      Deno.writeTextFileSync(
        config,
        "iters: 120\nlearning_rate: 0.003\nsave_every: 10\ntarget_modules: [all-linear]\nthreads: 1\n",
      );
      await install(systemd, MODEL, "--train-config", config);
      await systemd.run("cp", join(data, "first.jsonl"), "/var/lib/graft/data/");
      let ended = false;
      const job = systemd.run("systemctl", "start", "graft-train.service");
      void job.then(() => ended = true);
      const pid = await until("a checkpoint is there", async () => {
        if (ended) return "none: it ended before";
        const entries = await systemd.journal("graft-train.service");
        if (!entries.some(({ MESSAGE }) => /: saved /.test(MESSAGE))) return undefined;
        return (await systemd.run("pgrep", "-f", " train --config ")).stdout.trim().split("\n").at(
          -1,
        );
      });
      const adj = await systemd.run("cat", `/proc/${pid}/oom_score_adj`);
      assertEquals(adj.stdout.trim(), "1000");
      assertEquals((await systemd.run("kill", "-KILL", pid)).code, 0);
      assertEquals((await job).code, 0);
      const steps = (await systemd.journal("graft-train.service"))
        .filter(({ MESSAGE, GRAFT_STEP }) =>
          GRAFT_STEP !== undefined && /^(Cycle|Model)/.test(MESSAGE)
        )
        .map(({ GRAFT_STEP }) => GRAFT_STEP);
      assertEquals(steps.slice(0, 2), ["begun", "interrupted"]);
      assertEquals(steps.at(-1), "promoted");

      const straight = join(path, "straight");
      const run = await graftProcess(
        ...["service", "train", "--state", straight, "--model", MODEL],
        ...["--data", data, "--train-config", config],
      );
      assertEquals(run.code, 0, run.stderr);
      const file = "models/0001/adapter/adapter_model.safetensors";
      const inside = await systemd.run("sha256sum", `/var/lib/graft/${file}`);
      assertEquals(inside.stdout.split(" ")[0], await sha256(join(straight, file)));

      await until("the service follows", async () => {
        const { StatusText } = await systemd.show("graft.service");
        return StatusText.includes("model 0001") || undefined;
      });
      const answer = JSON.parse((await systemd.graft("service", "ask", "my card")).stdout);
      assertEquals(answer.model, "0001");
      const back = await systemd.graft("service", "rollback");
      assertEquals([back.code, back.stdout.trim()], [0, "In use now: the base"]);
      await until("the service follows", async () => {
        const { StatusText } = await systemd.show("graft.service");
        return StatusText.includes("the base") || undefined;
      });
    });
  },
);

testUnderSystemd(
  "graft-train.timer starts the round when its time has come",
  async (systemd) => {
    await inTempDir(async (path) => {
      const config = join(path, "train.yaml");
      Deno.writeTextFileSync(config, "iters: 4\nlearning_rate: 0.003\nthreads: 1\n");
      await install(systemd, MODEL, "--train-config", config, "--schedule", "*:*:0/2");
      Deno.writeTextFileSync(join(path, "rows.jsonl"), pairs(20));
      await systemd.run("cp", join(path, "rows.jsonl"), "/var/lib/graft/data/");
      // Not in ten minutes.
      await override(systemd, "graft-train.timer", "RandomizedDelaySec=0", "AccuracySec=100ms");
      const restarted = await systemd.run("systemctl", "restart", "graft-train.timer");
      assertEquals(restarted.code, 0, restarted.stderr);
      const step = await until("the timer's round has ended", async () => {
        const entries = await systemd.journal("graft-train.service");
        return entries.find(({ GRAFT_STEP }) => /^(promoted|rejected)$/.test(GRAFT_STEP ?? ""));
      });
      assertEquals(step.GRAFT_CYCLE, "0001");
      const { LastTriggerUSec } = await systemd.show("graft-train.timer");
      assert(LastTriggerUSec !== "", "the timer has never elapsed");
    });
  },
);

testUnderSystemd(
  "graft-train.service refuses a training that does not fit its memory, and the service goes on",
  async (systemd) => {
    await install(systemd, MODEL);
    // More than the round takes until it knows, less than the training: the program carries its code.
    const limit = Deno.env.get("GRAFT_BINARY") ? "160M" : "120M";
    await override(systemd, "graft-train.service", `MemoryMax=${limit}`);
    const row = `{"text": "one"}\\n{"text": "two"}\\n`;
    await systemd.run("sh", "-c", `printf '${row}' > /var/lib/graft/data/rows.jsonl`);
    const { code } = await systemd.run("systemctl", "start", "graft-train.service");
    assertEquals(code, 1);
    const { Result, ExecMainStatus } = await systemd.show("graft-train.service");
    assertEquals([Result, ExecMainStatus], ["exit-code", "1"]);
    const failed = (await systemd.journal("graft-train.service")).find(({ GRAFT_STEP }) =>
      GRAFT_STEP === "failed"
    );
    assertEquals([failed?.PRIORITY, failed?.GRAFT_CYCLE], ["3", "0001"]);
    assertMatch(failed!.MESSAGE, /^Cycle 0001 failed: Cannot train in \d+ MB of memory/);
    assertEquals((await systemd.graft("service", "ask", "my card")).code, 0);
  },
);
