/** Flower's own server for tests: a SuperLink on this machine, and runs of an app on it. */
import { dirname, join } from "@std/path";
import { freePort } from "./free_port.ts";
import { python } from "./requirements.ts";
import { until } from "./until.ts";

/** Programs of flwr stand beside the Python that has it. */
const PROGRAMS = dirname(python());

const ENVIRONMENT = {
  PATH: `${PROGRAMS}:${Deno.env.get("PATH")}`,
  FLWR_TELEMETRY_ENABLED: "0",
  OPENBLAS_NUM_THREADS: "1",
};

export interface SuperLinkOptions {
  /** Folder for its files, and for the settings of `flwr`. */
  readonly folder: string;
  readonly port?: number;
  /** More flags. */
  readonly args?: readonly string[];
}

/** A SuperLink that ends with its test. */
export class SuperLink implements AsyncDisposable {
  readonly url: string;
  readonly #child: Deno.ChildProcess;
  readonly #home: string;
  readonly #log: string;

  private constructor(
    child: Deno.ChildProcess,
    { folder, port }: SuperLinkOptions & { readonly port: number },
    log: string,
  ) {
    this.#child = child;
    this.#home = join(folder, "flwr-home");
    this.#log = log;
    this.url = `http://127.0.0.1:${port}`;
    Deno.mkdirSync(this.#home, { recursive: true });
    Deno.writeTextFileSync(
      join(this.#home, "config.toml"),
      `[superlink]\ndefault = "test"\n[superlink.test]\naddress = "127.0.0.1:${port}"\ninsecure = true\n`,
    );
  }

  /** Starts one and waits until it answers. */
  static async start(options: SuperLinkOptions): Promise<SuperLink> {
    const { folder, port = freePort(), args = [] } = options;
    const log = join(folder, `superlink-${port}-${Date.now()}.log`);
    const child = new Deno.Command(join(PROGRAMS, "flower-superlink"), {
      args: [
        ...["--insecure", "--port", String(port), "--log-file", log],
        ...["--disable-runtime-dependency-installation", ...args],
      ],
      env: { ...ENVIRONMENT, FLWR_HOME: join(folder, "flwr-home") },
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    const link = new SuperLink(child, { folder, port }, log);
    await until("the SuperLink answers", async () => {
      const response = await fetch(`${link.url}/openapi.json`);
      await response.body?.cancel();
      return response.ok || undefined;
    });
    return link;
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** What it has logged. */
  get log(): string {
    return Deno.readTextFileSync(this.#log);
  }

  /** Starts a run of an app, with settings of it. */
  async run(app: string, settings: Readonly<Record<string, unknown>>): Promise<void> {
    const words = Object.entries(settings).map(([key, value]) => `${key}=${JSON.stringify(value)}`);
    const { success, stderr, stdout } = await new Deno.Command(join(PROGRAMS, "flwr"), {
      args: ["run", app, "test", ...words.flatMap((word) => ["--run-config", word])],
      env: { ...ENVIRONMENT, FLWR_HOME: this.#home },
      stdin: "null",
    }).output();
    if (success) return;
    const text = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes)).join("");
    throw new Error(`flwr run failed: ${text}`);
  }

  /** Ends it at once, as a power loss does. */
  async kill(): Promise<void> {
    await this.#end("SIGKILL");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#end("SIGTERM");
  }

  async #end(signal: Deno.Signal): Promise<void> {
    try {
      this.#child.kill(signal);
    } catch {
      // It has ended.
    }
    await this.#child.status;
  }
}
