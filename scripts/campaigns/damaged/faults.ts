/** What a user meets in a service whose files are damaged. */
import { join } from "@std/path";
import { EXIT } from "../../../src/errors.ts";
import { graftProcess } from "../../../tests/helpers/graft.ts";
import { answers, startService, trainRound } from "./service_folders.ts";

/** What is wrong with a service over these folders. */
export async function faultsOf(root: string): Promise<string[]> {
  const faults: string[] = [];
  const service = startService(root);
  try {
    await answers(service);
    faults.push(...await faultsOfRequests(service.url));
  } catch (error) {
    faults.push((error as Error).message);
  }
  try {
    service.child.kill("SIGTERM");
  } catch {
    // it has ended
  }
  const late = setTimeout(() => {
    faults.push("it does not end");
    service.child.kill("SIGKILL");
  }, 30_000);
  const { code } = await service.child.status;
  clearTimeout(late);
  const log = await service.stderr;
  if (code !== EXIT.ok) faults.push(`it ended with ${code}`);
  if (/^\s+at |TypeError|RangeError|SyntaxError/m.test(log)) faults.push("an error of its own");
  if (faults.length > 0) faults.push(log.slice(-1500));
  for (const verb of ["status", "rollback"]) {
    const { code, stderr } = await graftProcess("service", verb, "--state", join(root, "state"));
    if (code === EXIT.internal) faults.push(`graft service ${verb}: ${stderr}`);
  }
  return faults;
}

/** Ends of a round over damaged files that say what is wrong, and are none of graft's own faults. */
const IN_ORDER = new Set<number>([EXIT.ok, EXIT.refused, EXIT.usage, EXIT.badInput, EXIT.io]);

/** How a round over these folders ends, and what is wrong with that. */
export async function roundOver(
  root: string,
): Promise<{ readonly code: number; readonly faults: readonly string[] }> {
  const { code, stderr } = await trainRound(root, 80);
  const fault = `a round ended with ${code}: ${stderr.slice(-1500)}`;
  return { code, faults: IN_ORDER.has(code) ? [] : [fault] };
}

async function faultsOfRequests(url: string): Promise<string[]> {
  const faults: string[] = [];
  const ask = async (path: string, body?: object) => {
    const response = await fetch(`${url}${path}`, {
      signal: AbortSignal.timeout(30_000),
      ...body !== undefined && {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(body),
      },
    });
    const text = await response.text();
    if (response.status >= 500) faults.push(`${path}: ${response.status} ${text}`);
    return response.ok ? text : "{}";
  };
  const idsOf = async (path: string): Promise<string[]> =>
    (JSON.parse(await ask(path)).data ?? []).map(({ id }: { id: string }) => id);
  for (const path of ["/props", "/metrics", "/lora-adapters"]) await ask(path);
  for (const model of await idsOf("/v1/models")) {
    await ask("/v1/completions", { model, prompt: "turn on", max_tokens: 2 });
  }
  for (const file of await idsOf("/v1/files")) await ask(`/v1/files/${file}/content`);
  for (const job of await idsOf("/v1/fine_tuning/jobs")) {
    for (const part of ["", "/events", "/checkpoints"]) {
      await ask(`/v1/fine_tuning/jobs/${job}${part}`);
    }
  }
  return faults;
}
