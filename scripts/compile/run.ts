/** Programs that the build calls. */

/**
 * Runs a program to its end; what it says about its work goes on to standard error.
 *
 * @returns its standard output
 * @throws {Error} where it fails
 */
export async function run(
  program: string,
  args: readonly string[],
  options: { readonly cwd?: string; readonly env?: Readonly<Record<string, string>> } = {},
): Promise<string> {
  const { success, code, stdout } = await new Deno.Command(program, {
    ...options,
    args: [...args],
    stdin: "null",
    stderr: "inherit",
  }).output();
  if (!success) throw new Error(`${program} ${args.slice(0, 3).join(" ")} … ended with ${code}`);
  return new TextDecoder().decode(stdout);
}
