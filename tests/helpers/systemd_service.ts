/** graft's services under a systemd of the tests. */
import { assertEquals } from "@std/assert";
import type { Systemd } from "./systemd.ts";

/** Runs `graft service install`, which must do its work, and returns what it printed. */
export async function install(
  systemd: Systemd,
  model: string,
  ...flags: string[]
): Promise<string> {
  const { code, stdout, stderr } = await systemd.graft(
    ...["service", "install", "--model", model],
    ...systemd.execFlags,
    ...flags,
  );
  assertEquals(code, 0, stderr);
  return stdout;
}

/** Changes a unit as an operator does, before it starts. */
export async function override(systemd: Systemd, unit: string, ...lines: string[]): Promise<void> {
  const folder = `/etc/systemd/system/${unit}.d`;
  const section = unit.endsWith(".timer") ? "[Timer]" : "[Service]";
  const text = [section, ...lines].join("\n");
  await systemd.run(
    ...["sh", "-c", `mkdir -p ${folder} && printf '%s\\n' "$1" > ${folder}/test.conf`, "sh", text],
  );
  await systemd.run("systemctl", "daemon-reload");
}
