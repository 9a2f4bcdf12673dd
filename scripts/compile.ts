/**
 * Compiles graft to one file for each processor: `deno task compile [--target x64|arm64]
 * [--no-library] [--no-model]`.
 *
 * In `dist/`: `graft-<version>-linux-<target>`, its bill of materials (`.cdx.json`), `graft.1` (the
 * manual page) and `SHA256SUMS`. `GRAFT_COMPILE_DENO` names the Deno that compiles, else it is the
 * one that runs this; `DENORT_BIN` its `denort`, or several with `:` between, of which each target
 * takes the one for its processor; else Deno fetches it. `GRAFT_ORT_NOTICES` names the notices of what
 * is in ONNX Runtime, for `graft licenses`. `scripts/denort.ts` finds all three.
 */
import { parseArgs } from "@std/cli/parse-args";
import { basename, dirname, fromFileUrl, join } from "@std/path";
import { manPage } from "../src/cli/about/man_page.ts";
import { loadVerbs } from "../src/cli/verb_tree.ts";
import { CARRIED, sectionsEnd } from "../src/system/embedded.ts";
import { VERSION } from "../src/version.ts";
import { insertFiles } from "./compile/append.ts";
import { type CrateTable, readCrateTable, unknownCrates } from "./compile/crate_notices.ts";
import { type Crate, cratesIn } from "./compile/crates.ts";
import { compareReleases, lowestGlibc, machineOf, type Target } from "./compile/elf.ts";
import { licenseOf } from "./compile/packages.ts";
import { run } from "./compile/run.ts";
import { billOfMaterials, type Part } from "./compile/sbom.ts";
import { librarySource, sha256File, type Stage, stage } from "./compile/stage.ts";

const ROOT = fromFileUrl(new URL("..", import.meta.url)).replace(/\/$/, "");

/** The lowest release of the C library that a binary may need: JetPack 5 has 2.31. */
const LOWEST_GLIBC = "2.28";

/** As Rust, and so Deno, names the targets. */
const TRIPLE: Readonly<Record<Target, string>> = {
  x64: "x86_64-unknown-linux-gnu",
  arm64: "aarch64-unknown-linux-gnu",
};

/**
 * What a binary may do. Models, data and results lie anywhere, and so may another libonnxruntime;
 * verbs that need no network and start no program give these two back before they begin.
 */
const PERMISSIONS = ["read", "write", "env", "sys", "ffi", "net", "run"];

/**
 * Heap settings of the `graft` task: what JavaScript leaves alone the model can have. A compiled
 * program cannot ask for the collector later, as `deno run` can.
 */
const V8_FLAGS = "--max-semi-space-size=4,--heap-growing-percent=25,--expose-gc";

/** The compiler walks modules recursively: one that holds WebAssembly needs more than a thread's 2 MB. */
const MORE_STACK = { RUST_MIN_STACK: String(64 * 2 ** 20) };

/** Large files that are no parts of their own in the bill of materials: notices, and files of packages. */
const PARTS_OF_OTHERS: ReadonlySet<string> = new Set([
  CARRIED.libraryNotices,
  CARRIED.renderer,
  CARRIED.font,
]);

interface Options {
  readonly targets: readonly Target[];
  readonly library: boolean;
  readonly model: boolean;
  readonly out: string;
}

function optionsOf(args: readonly string[]): Options {
  const parsed = parseArgs([...args], {
    string: ["target", "out"],
    boolean: ["library", "model"],
    negatable: ["library", "model"],
    collect: ["target"],
    default: { library: true, model: true, out: join(ROOT, "dist") },
    unknown: (name: string) => {
      throw new Error(`Unknown argument ${name}`);
    },
  });
  const named = parsed.target as readonly string[];
  const targets = (named.length === 0 ? Object.keys(TRIPLE) : named) as Target[];
  for (const target of targets) {
    if (!(target in TRIPLE)) throw new Error(`Unknown target ${target}: x64 or arm64`);
  }
  return { targets, library: parsed.library, model: parsed.model, out: parsed.out };
}

/** `graft-0.1.0-linux-x64`, and what it comes without. */
export function binaryName(
  target: Target,
  { library, model }: { readonly library: boolean; readonly model: boolean },
): string {
  const without = `${library ? "" : "-no-library"}${model ? "" : "-no-model"}`;
  return `graft-${VERSION}-linux-${target}${without}`;
}

/** The `denort` of `DENORT_BIN` for a target. */
function denortFor(target: Target): string | undefined {
  const named = Deno.env.get("DENORT_BIN");
  if (!named) return undefined;
  const found = named.split(":").find((path) => machineOf(Deno.readFileSync(path)) === target);
  if (found === undefined) throw new Error(`DENORT_BIN names none for ${target}: ${named}`);
  return found;
}

async function compile(target: Target, options: Options): Promise<void> {
  const name = binaryName(target, options);
  const path = join(options.out, name);
  const deno = Deno.env.get("GRAFT_COMPILE_DENO") ?? Deno.execPath();
  const denort = denortFor(target);
  const work = join(options.out, `.stage-${target}`);
  await Deno.remove(work, { recursive: true }).catch(() => {});
  try {
    const table = readCrateTable(ROOT);
    const staged = await stage(ROOT, work, { target, ...options, crates: table });
    await run(deno, [
      ...["compile", "--quiet", "--no-lock", "--no-check", "--no-prompt", "--no-code-cache"],
      ...PERMISSIONS.map((permission) => `--allow-${permission}`),
      `--v8-flags=${V8_FLAGS}`,
      ...staged.included.flatMap((included) => ["--include", included]),
      ...["--target", TRIPLE[target], "--output", path, "src/cli/main.ts"],
    ], {
      cwd: work,
      env: { ...MORE_STACK, ...(denort === undefined ? {} : { DENORT_BIN: denort }) },
    });
    const compiled = await Deno.readFile(path);
    const program = insertFiles(compiled, staged.large, staged.notes.appended);
    await Deno.writeFile(path, program, { mode: 0o755 });
    checkGlibc(path, program);
    const bill = `${name}.cdx.json`;
    const renderer = staged.large.find(({ name }) => name === CARRIED.renderer)!;
    const runtime = compiled.subarray(0, sectionsEnd(compiled));
    const crates = allOf(cratesIn(runtime), cratesIn(renderer.content));
    const unknown = unknownCrates(table, crates);
    if (unknown.length > 0) {
      console.warn(`No licence is known of these crates: ${unknown.join(", ")}`);
    }
    const text = await billOf(path, target, staged, deno, crates, table);
    await Deno.writeTextFile(join(options.out, bill), text);
    if (staged.notes.ort !== undefined && !(CARRIED.libraryNotices in staged.notes.appended)) {
      console.warn("ONNX Runtime's own notices are not in it: GRAFT_ORT_NOTICES names none");
    }
    const megabytes = (program.length / 1e6).toFixed(0);
    console.log(`${path}: ${megabytes} MB, ${staged.notes.commit ?? "no commit"}`);
  } finally {
    await Deno.remove(work, { recursive: true });
  }
}

/** Crates of several programs, each once. */
function allOf(...lists: readonly (readonly Crate[])[]): Crate[] {
  const each = lists.flat().map((crate) => [`${crate.name}@${crate.version}`, crate] as const);
  return [...new Map(each).values()];
}

/** The binary and the library in it are loaded by the device's own C library. */
function checkGlibc(path: string, program: Uint8Array): void {
  const target = machineOf(program)!;
  const files = new Map([[path, program]]);
  const library = librarySource(ROOT, target);
  files.set(library, Deno.readFileSync(library));
  for (const [file, bytes] of files) {
    const needed = lowestGlibc(bytes);
    if (compareReleases(needed, LOWEST_GLIBC) > 0) {
      throw new Error(`${file} needs glibc ${needed}: it must run on ${LOWEST_GLIBC}`);
    }
    console.log(`${file} runs on glibc ${needed} and later`);
  }
}

async function billOf(
  path: string,
  target: Target,
  staged: Stage,
  deno: string,
  crates: readonly Crate[],
  table: CrateTable,
): Promise<string> {
  const version = (await run(deno, ["eval", "console.log(Deno.version.deno)"])).trim();
  const denort = denortFor(target);
  const { ort, appended } = staged.notes;
  const parts: Part[] = [];
  if (denort !== undefined) {
    parts.push({
      type: "application",
      name: "denort",
      version,
      license: "MIT",
      sha256: await sha256File(denort),
    });
  }
  for (const [name, { sha256 }] of Object.entries(appended)) {
    if (PARTS_OF_OTHERS.has(name)) continue;
    parts.push(
      name === CARRIED.library
        ? {
          type: "library",
          name: "onnxruntime",
          version: ort!,
          license: "MIT",
          sha256,
          purl: `pkg:npm/onnxruntime-node@${ort}`,
        }
        : {
          type: "machine-learning-model",
          name: basename(dirname(name)),
          version: VERSION,
          license: "Apache-2.0",
          sha256,
        },
    );
  }
  const packages = staged.packages.map((locked) => ({
    ...locked,
    license: licenseOf(ROOT, locked),
  }));
  const binary = {
    name: "graft",
    version: VERSION,
    license: "Apache-2.0",
    sha256: await sha256File(path),
  };
  return billOfMaterials(binary, parts, packages, crates, table);
}

if (import.meta.main) {
  const options = optionsOf(Deno.args);
  await Deno.mkdir(options.out, { recursive: true });
  for (const target of options.targets) await compile(target, options);
  await Deno.writeTextFile(join(options.out, "graft.1"), manPage(await loadVerbs(), VERSION));
  // All that lies there: another call may have made the other target.
  const names = [...Deno.readDirSync(options.out)].map(({ name }) => name)
    .filter((name) => name.startsWith("graft")).sort();
  const sums: string[] = [];
  for (const name of names) sums.push(`${await sha256File(join(options.out, name))}  ${name}`);
  await Deno.writeTextFile(join(options.out, "SHA256SUMS"), `${sums.join("\n")}\n`);
}
