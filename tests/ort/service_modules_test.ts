/** A process that stays through a round, or only looks at one, holds little: it loads no training. */
import { assertEquals } from "@std/assert";
import { fromFileUrl } from "@std/path";

/** Files of the project that a file loads as it starts. */
async function loadedBy(path: string): Promise<readonly string[]> {
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["info", "--json", fromFileUrl(new URL(`../../${path}`, import.meta.url))],
    env: { NO_COLOR: "1" },
  }).output();
  const { roots, modules } = JSON.parse(new TextDecoder().decode(stdout));
  const imports = new Map<string, readonly string[]>(
    modules.map((module: Module) => [
      module.specifier,
      (module.dependencies ?? []).flatMap(({ code, isDynamic }) =>
        isDynamic || code?.specifier === undefined ? [] : [code.specifier]
      ),
    ]),
  );
  const found = new Set<string>(roots);
  for (const each of found) for (const other of imports.get(each) ?? []) found.add(other);
  return [...found].map((url) => url.replace(/^.*?\/(?=src\/)/, ""));
}

interface Module {
  readonly specifier: string;
  readonly dependencies?: readonly {
    readonly code?: { readonly specifier?: string };
    readonly isDynamic?: boolean;
  }[];
}

for (const verb of ["train", "status", "ask", "rollback"]) {
  Deno.test(`graft service ${verb} loads neither operators nor plans nor the runtime`, async () => {
    const loaded = await loadedBy(`src/cli/service/service_${verb}.ts`);
    const heavy = loaded.filter((path) => /^(src\/(ops|plan|runtime\/ort)|ffi\/api)/.test(path));
    assertEquals(heavy, []);
  });
}
