/**
 * Tests that need more than a bare machine has: a system program, or Python with packages.
 *
 * Where it is missing the test is ignored and `skipped: why` is printed; where
 * `GRAFT_REQUIRE_TOOLS=1` or `GRAFT_REQUIRE_PYTHON=1` says that it must be there, the test fails.
 */

function answers(command: string, args: string[]): boolean {
  try {
    return new Deno.Command(command, { args, stdout: "null", stderr: "null" }).outputSync().success;
  } catch {
    return false;
  }
}

/** The Python that tests call: `GRAFT_PYTHON`, else `python3`. */
export function python(): string {
  return Deno.env.get("GRAFT_PYTHON") ?? "python3";
}

/** Why a program cannot be used, `undefined` where it can. */
export function toolMissing(name: string, args = ["--version"]): string | undefined {
  return answers(name, args) ? undefined : `${name} is not installed`;
}

const modulesMissing = new Map<string, string | undefined>();

/** Why Python modules cannot be used, `undefined` where they can. */
export function pythonMissing(...modules: string[]): string | undefined {
  const key = modules.join();
  if (!modulesMissing.has(key)) {
    // find_spec instead of an import: torch takes seconds to load.
    const code =
      `import importlib.util as u, sys; sys.exit(any(u.find_spec(m) is None for m in sys.argv[1:]))`;
    const found = answers(python(), ["-c", code, ...modules]);
    modulesMissing.set(key, found ? undefined : `${python()} lacks one of: ${modules.join(", ")}`);
  }
  return modulesMissing.get(key);
}

/**
 * Declares a test that needs something.
 *
 * @param missing why it cannot run here (from {@linkcode toolMissing} or {@linkcode pythonMissing}),
 *   `undefined` where it can
 * @param required the environment variable that turns the skip into a failure
 */
export function testNeeding(
  missing: string | undefined,
  required: "GRAFT_REQUIRE_TOOLS" | "GRAFT_REQUIRE_PYTHON",
  title: string,
  body: () => void | Promise<void>,
): void {
  if (missing === undefined) return Deno.test(title, body);
  if (Deno.env.get(required) === "1") {
    return Deno.test(title, () => {
      throw new Error(`${missing}, and ${required}=1 does not allow to skip`);
    });
  }
  console.log(`skipped: ${title}: ${missing}`);
  Deno.test({ name: title, ignore: true, fn: body });
}

/** A test that needs a program on the PATH. */
export function testWithTool(name: string, title: string, body: () => void | Promise<void>): void {
  testNeeding(toolMissing(name), "GRAFT_REQUIRE_TOOLS", title, body);
}

/** A test that needs Python modules. */
export function testWithPython(
  modules: string[],
  title: string,
  body: () => void | Promise<void>,
): void {
  testNeeding(pythonMissing(...modules), "GRAFT_REQUIRE_PYTHON", title, body);
}
