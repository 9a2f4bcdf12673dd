/** Runs Python programs that check graft's files with other people's readers. */
import { python } from "./requirements.ts";

/** Standard output of a program, without surrounding space; throws with its errors where it fails. */
export async function runPython(program: string, args: readonly string[] = []): Promise<string> {
  const command = new Deno.Command(python(), { args: ["-c", program, ...args], stdin: "null" });
  const { success, stdout, stderr } = await command.output();
  const text = new TextDecoder();
  if (!success) throw new Error(`Python failed: ${text.decode(stderr)}`);
  return text.decode(stdout).trim();
}
