/**
 * Reports this process's state to the service manager: the protocol of `sd_notify`.
 *
 * Source: sd_notify(3), sd_watchdog_enabled(3).
 */
import { sendDatagram } from "../../ffi/libc_socket.ts";

/** The service manager that started this process and expects reports, if any. */
export class ServiceManager {
  private constructor(
    readonly socket: string | undefined,
    /** Longest time between two pings; `undefined` if none are expected. */
    readonly watchdogMs: number | undefined,
  ) {}

  /**
   * @param variable reads a variable of the environment; for tests
   * @param pid of this process: a watchdog may be meant for another
   */
  static fromEnvironment(
    variable: (name: string) => string | undefined = (name) => Deno.env.get(name),
    pid: number = Deno.pid,
  ): ServiceManager {
    const socket = variable("NOTIFY_SOCKET") || undefined;
    const microseconds = Number(variable("WATCHDOG_USEC"));
    const meant = variable("WATCHDOG_PID");
    const waits = socket !== undefined && microseconds > 0 &&
      (meant === undefined || meant === String(pid));
    return new ServiceManager(socket, waits ? microseconds / 1000 : undefined);
  }

  /** Reports that the service is ready. */
  ready(status: string): void {
    this.#send({ READY: "1", STATUS: status });
  }

  /** Reports one line for `systemctl status`. */
  status(status: string): void {
    this.#send({ STATUS: status });
  }

  /** Reports that the service is alive. */
  ping(): void {
    this.#send({ WATCHDOG: "1" });
  }

  stopping(status: string): void {
    this.#send({ STOPPING: "1", STATUS: status });
  }

  #send(fields: Readonly<Record<string, string>>): void {
    if (this.socket === undefined) return;
    const lines = Object.entries(fields).map(([name, value]) =>
      `${name}=${value.replaceAll("\n", " ")}`
    );
    sendDatagram(this.socket, new TextEncoder().encode(lines.join("\n")), true);
  }
}
