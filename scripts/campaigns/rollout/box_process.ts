/** A process of boxes that can lose its power, with all that it started, and come back. */
export class BoxProcess {
  #child: Deno.ChildProcess | undefined;
  kills = 0;

  constructor(readonly boxes: readonly string[], readonly words: readonly string[]) {}

  get isOn(): boolean {
    return this.#child !== undefined;
  }

  start(): void {
    const [program, ...args] = this.words;
    // A session of its own, so that everything in it ends together.
    const child = new Deno.Command("setsid", {
      args: [program, ...args],
      stdin: "null",
      stdout: "null",
      stderr: Deno.env.has("GRAFT_CAMPAIGN_LOG") ? "inherit" : "null",
      env: { NO_COLOR: "1" },
    }).spawn();
    this.#child = child;
  }

  /** @param signal `SIGKILL` as a power loss, `SIGTERM` as a shutdown */
  async stop(signal: "KILL" | "TERM"): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    this.#child = undefined;
    this.kills++;
    await new Deno.Command("kill", { args: [`-${signal}`, "--", `-${child.pid}`] }).output();
    const { code } = await child.status;
    if (code === 0 || code === 1) throw new Error(`${this.boxes.join()} had ended with ${code}`);
  }
}
