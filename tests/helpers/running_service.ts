/** `graft service run` in a process of its own, for as long as something is done with it. */
import { startGraft } from "./graft.ts";
import { askOnce } from "./line_clients.ts";
import { until } from "./until.ts";

export interface ServiceFlags {
  readonly model: string;
  readonly state: string;
  readonly socket: string;
}

/**
 * Starts the service, does something once it answers, and ends it.
 *
 * @throws where it ends before or does not end in order
 */
export async function withService<T>(
  { model, state, socket }: ServiceFlags,
  body: (pid: number) => Promise<T>,
): Promise<T> {
  const child = startGraft(
    ...["service", "run", "--model", model, "--state", state, "--socket", socket],
    ...["--n-predict", "8", "--threads", "1"],
  );
  void child.stdout.cancel();
  const log = new Response(child.stderr).text();
  let wanted = true;
  const ends = child.status.then(async ({ code }) => {
    if (wanted || code !== 0) throw new Error(`The service ended with ${code}: ${await log}`);
  });
  ends.catch(() => {});
  try {
    await Promise.race([ends, until("it answers", () => askOnce(socket, "hello"))]);
    return await Promise.race([ends.then(() => undefined as never), body(child.pid)]);
  } finally {
    wanted = false;
    try {
      child.kill("SIGTERM");
    } catch {
      // it has ended by itself
    }
    await ends;
  }
}
