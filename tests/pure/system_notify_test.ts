import { assertEquals } from "@std/assert";
import { encodeEntry, openLog } from "../../src/system/journal_log.ts";
import { ServiceManager } from "../../src/system/notify.ts";

const from = (variables: Record<string, string>, pid = 7) =>
  ServiceManager.fromEnvironment((name) => variables[name], pid);

Deno.test("ServiceManager waits for pings where the watchdog is meant for this process", () => {
  const socket = { NOTIFY_SOCKET: "/run/notify", WATCHDOG_USEC: "30000000" };
  assertEquals(from(socket).watchdogMs, 30_000);
  assertEquals(from({ ...socket, WATCHDOG_PID: "7" }).watchdogMs, 30_000);
  assertEquals(from({ ...socket, WATCHDOG_PID: "8" }).watchdogMs, undefined);
  assertEquals(from({ NOTIFY_SOCKET: "/run/notify" }).watchdogMs, undefined);
  assertEquals(from({ WATCHDOG_USEC: "30000000" }).watchdogMs, undefined);
});

Deno.test("ServiceManager is silent where nobody listens", () => {
  from({}).ready("up"); // needs no permission: nothing is opened
});

Deno.test("encodeEntry() gives values with line ends their length", () => {
  const bytes = encodeEntry({ MESSAGE: "a\nb", PRIORITY: "5" });
  assertEquals(
    new TextDecoder().decode(bytes),
    "MESSAGE\n\x03\0\0\0\0\0\0\0a\nb\nPRIORITY=5\n",
  );
});

Deno.test("openLog() writes lines where there is no journal", () => {
  const lines: string[] = [];
  const log = openLog((line) => lines.push(line), () => undefined);
  log("notice", "begins", { CYCLE: "0001" });
  assertEquals(lines, ["begins"]);
});
