/** Runs a script in a process of its own, whose memory is nothing else's, and reads what it prints. */
import { assertEquals } from "@std/assert";

/**
 * @param script name of a file beside this one, which prints JSON
 * @param args its arguments
 * @param flags of Deno
 */
export async function jsonOfChild<Printed>(
  script: string,
  args: readonly string[] = [],
  flags: readonly string[] = ["--no-check"],
): Promise<Printed> {
  const path = new URL(script, import.meta.url).pathname;
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", ...flags, path, ...args],
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  assertEquals(code, 0, text(stderr));
  return JSON.parse(text(stdout));
}
