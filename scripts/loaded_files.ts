/** Files of the project that a file loads as it starts: what a process of that verb holds at least. */
import { relative } from "@std/path";

/** What `deno info --json` says of a file. */
interface Module {
  readonly specifier: string;
  readonly dependencies?: readonly {
    readonly code?: { readonly specifier?: string };
    readonly isDynamic?: boolean;
  }[];
}

/**
 * Files that a file loads as it starts, itself included, as paths from the root; types, and what it
 * loads later with `import()`, do not count.
 *
 * @param root folder of a checkout
 * @param path of the file, from there
 */
export async function loadedFiles(root: string, path: string): Promise<readonly string[]> {
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["info", "--json", path],
    cwd: root,
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
  return [...found].filter((url) => url.startsWith("file:"))
    .map((url) => relative(root, new URL(url).pathname));
}
