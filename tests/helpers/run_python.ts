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

/**
 * What a script of this folder writes, given a value on its standard input, both as JSON; without a network.
 *
 * @param script its name, as `peft_logits.py`
 */
export async function askPython<T>(script: string, request: unknown): Promise<T> {
  const child = new Deno.Command(python(), {
    args: [new URL(script, import.meta.url).pathname],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
    env: { HF_HUB_OFFLINE: "1", TRANSFORMERS_VERBOSITY: "error" },
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(JSON.stringify(request)));
  await writer.close();
  const { success, stdout, stderr } = await child.output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  return JSON.parse(new TextDecoder().decode(stdout));
}
