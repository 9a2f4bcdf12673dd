/**
 * A box of a fleet among faults: `deno task campaign:fleet [CASE…]`, as root, with GRAFT_PYTHON that has flwr.
 *
 * - `units`: the units of `graft service install --fleet` under a systemd of their own do two rounds of a real
 *   SuperLink; the unit with the network sees no row, the unit with the rows no network.
 * - `outage`: the SuperLink is killed while a box trains, and starts again with its database: the round ends.
 * - `kill`: the process that trains is killed, then the box itself: both go on, and the round ends.
 *
 * Prints a line a case, and ends with 1 for one that fails.
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { childrenOf } from "../../tests/helpers/children.ts";
import { FLEET } from "../../tests/helpers/fleet_rounds.ts";
import { modelDir } from "../../tests/helpers/fixture_models.ts";
import { startGraft } from "../../tests/helpers/graft.ts";
import { SuperLink } from "../../tests/helpers/superlink.ts";
import { Systemd } from "../../tests/helpers/systemd.ts";
import { install } from "../../tests/helpers/systemd_service.ts";
import { inTempDir } from "../../tests/helpers/temp_dir.ts";
import { pairs } from "../../tests/helpers/training_runs.ts";
import { until } from "../../tests/helpers/until.ts";

const MODEL = modelDir("tiny-llama-genai-int4");
const PATIENCE_MS = 240_000;

/** A run of one box. */
const RUN = {
  ...{ "min-boxes": 1, "min-replies": 1, "rank": 4, "learning-rate": 0.01, "batch-size": 3 },
  ...{ "target-modules": "q,v", "round-timeout": 240 },
};

/** Lines of a run's record, once there are so many rounds. */
function rounds(run: string, count: number): Promise<Record<string, unknown>[]> {
  return until(`${count} rounds are recorded`, () => {
    const lines = Deno.readTextFileSync(join(run, "rounds.jsonl")).trim().split("\n")
      .map((line) => JSON.parse(line));
    return lines.length >= count ? lines : undefined;
  }, PATIENCE_MS);
}

/** A box on the command line, and what it has said so far. */
function startBox(path: string, url: string, state = "state") {
  const rows = join(path, "rows");
  Deno.mkdirSync(rows, { recursive: true });
  Deno.writeTextFileSync(join(rows, "train.jsonl"), pairs(8));
  const child = startGraft(
    ...["fleet", "join", url, "--insecure", "--state", join(path, state), "--threads=1"],
    ...["--model", MODEL, "--data", rows],
  );
  const said = { text: "" };
  child.stdout.pipeTo(new WritableStream()).catch(() => {});
  child.stderr.pipeThrough(new TextDecoderStream())
    .pipeTo(new WritableStream({ write: (text) => void (said.text += text) })).catch(() => {});
  const hasSaid = (what: RegExp) =>
    until(`the box says ${what}`, () => what.test(said.text) || undefined, PATIENCE_MS);
  return { child, said, hasSaid };
}

async function units(path: string): Promise<string> {
  await using systemd = await Systemd.boot();
  await using link = await SuperLink.start({ folder: path });
  try {
    await install(systemd, MODEL, "--fleet", link.url, "--fleet-insecure", "--fleet-rank", "2");
    const put = `mkdir -p /var/lib/graft/data && printf '%s' "$1" > /var/lib/graft/data/a.jsonl`;
    await systemd.run("sh", "-c", put, "sh", pairs(12));
    const run = join(path, "run");
    await link.run(FLEET, { ...RUN, "rounds": 2, "max-steps": 3, "save-path": run });
    const record = await rounds(run, 2);
    assertEquals(record.map((line) => line.replies), [1, 1], JSON.stringify(record));
    const { MainPID } = await systemd.show("graft-fleet.service");
    const inside = (...words: string[]) =>
      systemd.run("nsenter", "-t", MainPID, "-m", "-U", "--preserve-credentials", ...words);
    assertEquals((await inside("ls", "/var/lib/private")).stdout.trim(), "graft-fleet");
    // As the unit's user, through a process of the same user that has the rows.
    const { MainPID: other } = await systemd.show("graft.service");
    const user = `${Deno.statSync(`/proc/${systemd.pid}/root/proc/${MainPID}`).uid}`;
    const asUser = (...words: string[]) =>
      inside("setpriv", "--reuid", user, "--regid", user, "--keep-groups", ...words);
    const own = await asUser("cat", `/proc/${MainPID}/root/var/lib/private/graft-fleet/node.json`);
    assertStringIncludes(own.stdout, link.url, own.stderr);
    const rows = `/proc/${other}/root/var/lib/private/graft/data/a.jsonl`;
    assertStringIncludes((await systemd.run("cat", rows)).stdout, "What colour");
    for (const path of [rows, `/proc/${other}/status`]) {
      const found = await asUser("cat", path);
      assertMatch(found.stderr, /No such file|Permission denied/, JSON.stringify(found));
      assertEquals(found.stdout, "");
    }
    assertEquals((await systemd.show("graft-fleet-train.service")).PrivateNetwork, "yes");
    const notes = await systemd.journal("graft-fleet-train.service");
    assert(notes.some(({ MESSAGE }) => /^Training: \d+ rows/.test(MESSAGE)));
    return "two rounds; the unit with the network sees its own folder only, and into no other process";
  } catch (error) {
    console.error(await systemd.log());
    throw error;
  }
}

async function outage(path: string): Promise<string> {
  const args = ["--database", join(path, "superlink.db")];
  let link = await SuperLink.start({ folder: path, args });
  const box = startBox(path, link.url);
  try {
    const run = join(path, "run");
    await box.hasSaid(/^Joined/m);
    await link.run(FLEET, { ...RUN, "rounds": 1, "max-steps": 400, "save-path": run });
    await box.hasSaid(/^step 10\//m);
    await link.kill();
    const port = Number(new URL(link.url).port);
    await new Promise((resolve) => setTimeout(resolve, 5000));
    link = await SuperLink.start({ folder: path, args, port });
    await box.hasSaid(/^Replied$|^Nobody waits/m);
    return box.said.text.includes("Nobody waits")
      ? "the box came back; the SuperLink had ended the run"
      : "the box replied to the SuperLink that came back";
  } finally {
    box.child.kill("SIGTERM");
    assertEquals((await box.child.status).code, 0, box.said.text);
    await link[Symbol.asyncDispose]();
  }
}

async function kill(path: string): Promise<string> {
  await using link = await SuperLink.start({ folder: path });
  let box = startBox(path, link.url);
  const run = join(path, "run");
  await box.hasSaid(/^Joined/m);
  await link.run(FLEET, { ...RUN, "rounds": 1, "max-steps": 400, "save-path": run });
  await box.hasSaid(/^step 150\//m);
  for (const pid of childrenOf(box.child.pid)) Deno.kill(pid, "SIGKILL");
  await box.hasSaid(/was killed by SIGKILL; going on/);
  await box.hasSaid(/^Resuming|^Goes on|resum/mi);
  await box.hasSaid(/^step 250\//m);
  const orphans = childrenOf(box.child.pid);
  box.child.kill("SIGKILL");
  await box.child.status;
  for (const pid of orphans) Deno.kill(pid, "SIGKILL");
  box = startBox(path, link.url);
  try {
    const [record] = await rounds(run, 1);
    assertEquals(record.replies, 1, JSON.stringify(record));
    assertStringIncludes(box.said.text, "Replied");
    return "one round, whose training was killed twice and whose box once";
  } finally {
    box.child.kill("SIGTERM");
    await box.child.status;
  }
}

const CASES = { units, outage, kill };

const wanted = Deno.args.length > 0 ? Deno.args : Object.keys(CASES);
let sound = true;
for (const name of wanted) {
  const run = Object.hasOwn(CASES, name) ? CASES[name as keyof typeof CASES] : undefined;
  if (run === undefined) {
    console.error(`graft: unknown case "${name}": choose from ${Object.keys(CASES).join(", ")}`);
    Deno.exit(2);
  }
  try {
    console.log(`${name}: ${await inTempDir(run)}`);
  } catch (error) {
    sound = false;
    console.error(`${name}: ${(error as Error).stack}`);
  }
}
Deno.exit(sound ? 0 : 1);
