/**
 * A real systemd for tests, beside the machine's own first process: in namespaces, with folders of
 * its own in the place of /etc, /opt, /var/lib, /var/cache and /var/log.
 */
import { fromFileUrl, join, relative } from "@std/path";
import { graftMain } from "./graft_bundle.ts";
import { testNeeding } from "./requirements.ts";
import { until } from "./until.ts";

const SYSTEMD = "/usr/lib/systemd/systemd";
const ROOT = fromFileUrl(new URL("../../", import.meta.url)).replace(/\/$/, "");
/** Where a checkout and its Deno are seen from inside: a service sees nothing of home folders. */
const CHECKOUT = "/opt/checkout";
const DENO = "/opt/deno";
/** Whatever a test does wrong, its systemd ends after this. */
const MOST_MS = 300_000;

/** Why no systemd can be started here, `undefined` where one can. */
export function systemdMissing(): string | undefined {
  try {
    Deno.statSync(SYSTEMD);
  } catch {
    return "systemd is not installed";
  }
  if (Deno.uid() !== 0) return "only root can start a systemd";
  const { success } = new Deno.Command("unshare", {
    args: ["--fork", "--pid", "--mount-proc", "--mount", "--cgroup", "--uts", "--ipc", "true"],
    stdout: "null",
    stderr: "null",
  }).outputSync();
  return success ? undefined : "this machine allows no namespaces";
}

export interface Output {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A systemd that has booted; disposing of it kills it and all that it started. */
export class Systemd implements AsyncDisposable {
  private constructor(
    readonly pid: number,
    readonly child: Deno.ChildProcess,
    readonly deadline: ReturnType<typeof setTimeout>,
  ) {}

  static async boot(): Promise<Systemd> {
    const folders = ["etc", "opt", "var/lib", "var/cache", "var/log"];
    const script = [
      "set -e",
      "mount -t tmpfs tmpfs /mnt",
      ...folders.map((folder) => `mkdir -p /mnt/${folder}`),
      "cp -a /etc/. /mnt/etc",
      "ln -sf /dev/null /mnt/etc/systemd/system/tmp.mount", // /tmp stays the machine's
      `mkdir /mnt${CHECKOUT} && mount --bind "$1" /mnt${CHECKOUT}`,
      `touch /mnt${DENO} && mount --bind "$2" /mnt${DENO}`,
      ...folders.map((folder) => `mount --rbind /mnt/${folder} /${folder}`),
      `exec ${SYSTEMD} --system --unit=basic.target`,
    ].join("\n");
    const child = new Deno.Command("unshare", {
      args: [
        ...["--fork", "--kill-child", "--pid", "--mount-proc", "--mount", "--cgroup"],
        ...["--uts", "--ipc", "sh", "-c", script, "sh", ROOT, Deno.execPath()],
      ],
      cwd: "/",
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    // systemd does not heed SIGTERM; --kill-child takes it along.
    const deadline = setTimeout(() => child.kill("SIGKILL"), MOST_MS);
    Deno.unrefTimer(deadline);
    const pid = await until("systemd begins", () => {
      const children = `/proc/${child.pid}/task/${child.pid}/children`;
      return Number(Deno.readTextFileSync(children).trim().split(" ")[0]) || undefined;
    });
    const systemd = new Systemd(pid, child, deadline);
    await until("systemd is running", async () => {
      const { stdout } = await systemd.run("systemctl", "is-system-running");
      return /running|degraded/.test(stdout) || undefined;
    });
    return systemd;
  }

  /** A command that works inside. */
  command(program: string, ...args: readonly string[]): Deno.Command {
    return new Deno.Command("nsenter", {
      args: ["-t", String(this.pid), "-m", "-p", "-u", "-i", "-C", program, ...args],
      cwd: "/",
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
      env: { NO_COLOR: "1", SYSTEMD_COLORS: "0" },
    });
  }

  /** Runs a program inside to its end. */
  async run(program: string, ...args: readonly string[]): Promise<Output> {
    const { code, stdout, stderr } = await this.command(program, ...args).output();
    const decoder = new TextDecoder();
    return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
  }

  /** The words that start graft inside. */
  get graftWords(): readonly string[] {
    const binary = Deno.env.get("GRAFT_BINARY");
    if (binary !== undefined) return [binary];
    const main = join(CHECKOUT, relative(ROOT, graftMain()));
    return [DENO, "run", "-A", "--no-check", "--node-modules-dir=manual", main];
  }

  /** Flags of `install` with which the units start the same graft. */
  get execFlags(): readonly string[] {
    return Deno.env.has("GRAFT_BINARY") ? [] : ["--exec", this.graftWords.join(",")];
  }

  /** Runs graft inside, as root. */
  graft(...args: readonly string[]): Promise<Output> {
    const [program, ...words] = this.graftWords;
    return this.run(program, ...words, ...args);
  }

  /** Properties of a unit. */
  async show(unit: string): Promise<Readonly<Record<string, string>>> {
    const { stdout } = await this.run("systemctl", "show", unit);
    return Object.fromEntries(
      stdout.trim().split("\n").map((line) => {
        const at = line.indexOf("=");
        return [line.slice(0, at), line.slice(at + 1)];
      }),
    );
  }

  /** Entries of the journal of a unit, oldest first. */
  async journal(unit: string): Promise<Readonly<Record<string, string>>[]> {
    const { stdout } = await this.run("journalctl", "-u", unit, "-o", "json", "--no-pager");
    return stdout.trim().split("\n").filter((line) => line !== "").map((line) => JSON.parse(line));
  }

  /** The journal as text, for messages. */
  async log(): Promise<string> {
    return (await this.run("journalctl", "-n", "80", "--no-pager")).stdout;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.deadline);
    try {
      this.child.kill("SIGKILL");
    } catch {
      // it has ended
    }
    await this.child.status;
  }
}

/** A test that needs a systemd of its own. */
export function testUnderSystemd(title: string, body: (systemd: Systemd) => Promise<void>): void {
  testNeeding(systemdMissing(), "GRAFT_REQUIRE_TOOLS", title, async () => {
    await using systemd = await Systemd.boot();
    try {
      await body(systemd);
    } catch (error) {
      console.error(await systemd.log());
      throw error;
    }
  });
}
