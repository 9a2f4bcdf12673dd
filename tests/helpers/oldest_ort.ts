/** The oldest supported ONNX Runtime, which tests run on beside the one that graft brings. */
import { exists } from "../../src/system/durable_files.ts";

/** The release that graft states as its lowest, as npm has it. */
const OLDEST = "1.18.0";

/**
 * Path of the oldest supported library. It is not among the project's dependencies, so that users
 * need not download it: the first test that asks fetches it into Deno's cache.
 *
 * @returns the path, or why there is none
 */
export async function oldestOrt(): Promise<{ path: string } | { skipped: string }> {
  const arch = Deno.build.arch === "aarch64" ? "arm64" : "x64";
  const deno = async (...args: string[]) => {
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args,
      cwd: Deno.env.get("TMPDIR") ?? "/tmp",
      stdout: "piped",
      stderr: "piped",
    }).output();
    return { code, out: new TextDecoder().decode(code === 0 ? stdout : stderr).trim() };
  };
  const info = await deno("info", "--json", "--no-config");
  const { npmCache } = JSON.parse(info.out);
  // The cache has a folder for each registry.
  const inPackage =
    `onnxruntime-node/${OLDEST}/bin/napi-v3/linux/${arch}/libonnxruntime.so.${OLDEST}`;
  const find = () => {
    const registries = exists(npmCache) ? [...Deno.readDirSync(npmCache)] : [];
    return registries.map(({ name }) => `${npmCache}/${name}/${inPackage}`).find(exists);
  };
  let path = find();
  if (path === undefined) {
    const cached = await deno(
      "cache",
      "--no-config",
      "--no-lock",
      "--node-modules-dir=none",
      `npm:onnxruntime-node@${OLDEST}`,
    );
    path = find();
    if (path === undefined) {
      return { skipped: `onnxruntime-node ${OLDEST} cannot be fetched from npm: ${cached.out}` };
    }
  }
  return { path };
}

/**
 * The library that the verbs' whole runs are compared on: the oldest supported one, or another that
 * GRAFT_OLDER_ORT_LIB names (`deno task campaign:releases`).
 */
export async function olderOrt(): Promise<{ path: string } | { skipped: string }> {
  const named = Deno.env.get("GRAFT_OLDER_ORT_LIB");
  return named ? { path: named } : await oldestOrt();
}

/** A library that a test runs on. */
export interface TestedOrt {
  /** What the test's title adds, empty for the library that graft brings. */
  readonly on: string;
  /** Its path; absent for the library that graft brings. */
  readonly ortLib?: string;
  /** Whether it is missing. */
  readonly ignore: boolean;
}

async function eachOrt(): Promise<readonly TestedOrt[]> {
  const named = Deno.env.get("GRAFT_ORT_LIB");
  if (named) return [{ on: ", on GRAFT_ORT_LIB", ortLib: named, ignore: false }];
  const oldest = await oldestOrt();
  const found = "path" in oldest;
  if (!found) console.log(`skipped: ONNX Runtime ${OLDEST}: ${oldest.skipped}`);
  return [
    { on: "", ignore: false },
    {
      on: `, on ONNX Runtime ${OLDEST}`,
      ...(found ? { ortLib: oldest.path } : {}),
      ignore: !found,
    },
  ];
}

/**
 * What graft's own graphs are tested on: the library that it brings and the oldest supported one, or
 * where GRAFT_ORT_LIB is set, that one alone.
 */
export const EACH_ORT: readonly TestedOrt[] = await eachOrt();

/**
 * Declares a test for each library of {@linkcode EACH_ORT}.
 *
 * @param libraries those of them on which it is run
 */
export function testOnEachOrt(
  title: string,
  body: (ortLib: string | undefined) => Promise<void>,
  libraries = EACH_ORT,
): void {
  for (const { on, ortLib, ignore } of libraries) {
    Deno.test({ name: `${title}${on}`, ignore, fn: () => body(ortLib) });
  }
}
