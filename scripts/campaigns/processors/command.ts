/** What a command wrote; `undefined` where it is not there or failed. */
export function run(
  command: string,
  args: string[],
  options: Pick<Deno.CommandOptions, "cwd" | "env"> = {},
): string | undefined {
  try {
    const { success, stdout } = new Deno.Command(command, { args, stderr: "null", ...options })
      .outputSync();
    return success ? new TextDecoder().decode(stdout) : undefined;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}
