/**
 * graft in few files: loading one for each of its hundreds of modules takes a third of the processor time
 * of a short run, and under `strace` more than the run.
 */
import { fromFileUrl, join } from "@std/path";

const ROOT = fromFileUrl(new URL("../../", import.meta.url));

/** Names the bundle's main module to the processes of tests (`graft.ts`). */
const MAIN = "GRAFT_TEST_MAIN";

/** Modules that graft finds beside the one that starts them. */
const BESIDE: Readonly<Record<string, (source: string) => string>> = {
  // Where it is imported, it is not the main module and serves nothing by itself.
  "src/data/guard_process.ts": (source) =>
    `import { serveText } from "${source}";\nawait serveText();\nDeno.exit();\n`,
  "ffi/run_lists_worker.ts": (source) => `import "${source}";\n`,
};

/** A bundle on the disk, until it is disposed. */
export interface GraftBundle extends Disposable {
  /** Of the environment of the processes of tests. */
  readonly variables: Readonly<Record<string, string>>;
}

/**
 * Bundles graft, two folders below the checkout's root, because graft finds what it carries two folders
 * above its modules.
 *
 * @throws {Error} where Deno cannot: it gets its bundler from npm, once
 */
export async function bundleGraft(): Promise<GraftBundle> {
  const parent = join(ROOT, "dist");
  Deno.mkdirSync(parent, { recursive: true });
  const folder = Deno.makeTempDirSync({ dir: parent, prefix: "tests-" });
  const remove = () => Deno.removeSync(folder, { recursive: true });
  try {
    Deno.chmodSync(folder, 0o755); // the services that tests install have users of their own
    const { success, stderr } = await new Deno.Command(Deno.execPath(), {
      args: [
        ...["bundle", "--quiet", "--platform=deno", "--code-splitting", `--outdir=${folder}`],
        join(ROOT, "src/cli/main.ts"),
      ],
      cwd: ROOT,
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).output();
    if (!success) throw new Error(new TextDecoder().decode(stderr));
    for (const [path, text] of Object.entries(BESIDE)) {
      const name = path.slice(path.lastIndexOf("/") + 1);
      Deno.writeTextFileSync(join(folder, name), text(`../../${path}`));
    }
    return { variables: { [MAIN]: join(folder, "main.js") }, [Symbol.dispose]: remove };
  } catch (error) {
    remove();
    throw error;
  }
}

/** The main module of graft's processes: the bundle's, where there is one, else the source's. */
export const graftMain = (): string => Deno.env.get(MAIN) ?? join(ROOT, "src/cli/main.ts");
