/** Variables of the environment, for as long as a test runs. */

/** Runs with more variables in this process's environment, which its children inherit. */
export async function withEnvironment<T>(
  variables: Readonly<Record<string, string>>,
  body: () => Promise<T> | T,
): Promise<T> {
  const before = Object.keys(variables).map((name) => [name, Deno.env.get(name)] as const);
  for (const [name, value] of Object.entries(variables)) Deno.env.set(name, value);
  try {
    return await body();
  } finally {
    for (const [name, value] of before) {
      if (value === undefined) Deno.env.delete(name);
      else Deno.env.set(name, value);
    }
  }
}
