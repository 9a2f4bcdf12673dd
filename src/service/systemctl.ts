/** Runs `systemctl`. */
import { RefusedError } from "../errors.ts";

/**
 * Runs `systemctl` and returns its output.
 *
 * @throws {RefusedError} if this machine has no `systemctl`
 */
export async function runSystemctl(
  args: readonly string[],
): Promise<{ readonly code: number; readonly stdout: string; readonly stderr: string }> {
  try {
    const { code, stdout, stderr } = await new Deno.Command("systemctl", {
      args: [...args],
      stdin: "null",
    }).output();
    const decoder = new TextDecoder();
    return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
  } catch (cause) {
    throw new RefusedError(
      "This machine has no systemctl: services need systemd; --dry-run prints the units",
      { cause },
    );
  }
}
