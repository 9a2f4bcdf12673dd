/** Kills pulls at random moments, and pulls again. */
import { fromFileUrl } from "@std/path";
import { PullPlace, type PullSource } from "./pull_sources.ts";

const CHILD = fromFileUrl(new URL("./pull_child.ts", import.meta.url));

/**
 * Pulls in a process of its own.
 *
 * @param killAfterMs when it is killed, from where it begins to pull; never if absent
 */
async function pullInChild(place: PullPlace, killAfterMs?: number) {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", CHILD, ...place.args],
    env: place.environment,
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const stderr = new Response(child.stderr).text();
  const ended = child.status;
  let startedAt = 0;
  for await (const _ of child.stdout) {
    if (startedAt > 0) continue;
    startedAt = performance.now();
    if (killAfterMs === undefined) continue;
    await new Promise((resolve) => setTimeout(resolve, killAfterMs));
    try {
      child.kill("SIGKILL");
    } catch {
      // it has ended by itself
    }
  }
  const { code } = await ended;
  return { code, stderr: await stderr, ms: performance.now() - startedAt };
}

/**
 * Kills pulls of a new model and of a newer version in turn, until `kills` came in time. After each
 * nothing torn may be seen, and the next pull must finish it.
 *
 * @returns how many kills came in time, and what went wrong, one line each
 */
export async function killPulls(
  source: PullSource,
  kills: number,
): Promise<{ readonly kills: number; readonly faults: readonly string[] }> {
  await using place = new PullPlace(source);
  place.offer(2);
  const straight = await pullInChild(place);
  if (straight.code !== 0) throw new Error(straight.stderr);
  place.clear();
  const faults: string[] = [];
  let killed = 0;
  for (let turn = 0; killed < kills; turn++) {
    if (turn % 2 === 1) {
      place.offer(1);
      await place.pull();
    }
    place.offer(2);
    const killAfterMs = Math.random() * straight.ms;
    const { code, stderr } = await pullInChild(place, killAfterMs);
    const where = `${source}, turn ${turn}, killed after ${killAfterMs.toFixed(1)} ms`;
    const wasKilled = code === 128 + 9;
    if (wasKilled) killed++;
    else if (code !== 0) faults.push(`${where}: ended with ${code}: ${stderr}`);
    try {
      faults.push(...place.faults(!wasKilled).map((fault) => `${where}: ${fault}`));
      await place.pull();
      faults.push(...place.faults(true).map((fault) => `${where}, pulled again: ${fault}`));
    } catch (error) {
      faults.push(`${where}, pulled again: ${error}`);
    }
    place.clear();
  }
  return { kills: killed, faults };
}
