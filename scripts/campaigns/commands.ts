/** Commands that campaigns run: Python's, and Deno's on this checkout. */

const ROOT = new URL("../../", import.meta.url).pathname;

/** `GRAFT_PYTHON`, else that of the environment in the checkout. */
export const PYTHON = Deno.env.get("GRAFT_PYTHON") ?? `${ROOT}.venv/bin/python`;

/** Runs a command in the checkout, without input; what it wrote. */
export async function output(
  command: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<{ readonly success: boolean; readonly stdout: string; readonly stderr: string }> {
  const { success, stdout, stderr } = await new Deno.Command(command, {
    args: [...args],
    cwd: ROOT,
    env: { ...env },
    stdin: "null",
  }).output();
  const text = new TextDecoder();
  return { success, stdout: text.decode(stdout), stderr: text.decode(stderr) };
}

/**
 * The same of a command that must succeed.
 *
 * @throws {Error} with the last line of what it wrote to standard error
 */
export async function outputOf(command: string, args: readonly string[]): Promise<string> {
  const { success, stdout, stderr } = await output(command, args);
  if (!success) throw new Error(stderr.trim().split("\n").at(-1));
  return stdout;
}
