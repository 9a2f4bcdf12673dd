/** The folder that is compiled: the program, the packages it imports, and what it carries. */
import { join, relative } from "@std/path";
import { PAGE_PACKAGES, readPageFiles } from "../../src/http/page_assets.ts";
import { type BuildNotes, CARRIED } from "../../src/system/embedded.ts";
import { type LargeFile, placeFiles } from "./append.ts";
import { crateNotices, type CrateTable, licenseText } from "./crate_notices.ts";
import type { Target } from "./elf.ts";
import { type Locked, lockedPackages, type Lockfile, packageOf, pruneLock } from "./lockfile.ts";
import { copyPackages, licenseTexts } from "./packages.ts";
import { run } from "./run.ts";

/** What goes into a binary besides the program. */
export interface Contents {
  readonly target: Target;
  readonly library: boolean;
  readonly model: boolean;
  /** What is known of the runtime's crates. */
  readonly crates: CrateTable;
}

/** A folder that is ready to be compiled. */
export interface Stage {
  readonly folder: string;
  readonly notes: BuildNotes;
  /** Packages that the program imports or takes files from. */
  readonly packages: readonly Locked[];
  /** Names in the folder to put into the binary besides the modules that are imported. */
  readonly included: readonly string[];
  /** What is put into the program file afterwards, where the notes say. */
  readonly large: readonly LargeFile[];
}

/** Names the notices of what is in ONNX Runtime, which npm's package does not bring. */
const LIBRARY_NOTICES = "GRAFT_ORT_NOTICES";

/** The package that {@linkcode CARRIED.font} is of. */
const FONT_PACKAGE = "dejavu-fonts-ttf";

/** The modules that are started by name and imported by none. */
const WORKERS = ["ffi/run_lists_worker.ts"];

export async function sha256File(path: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", await Deno.readFile(path));
  return new Uint8Array(digest).toHex();
}

/** ONNX Runtime's library for a processor, as npm brought it. */
export function librarySource(root: string, target: Target): string {
  return join(
    root,
    "node_modules/onnxruntime-node/bin/napi-v6/linux",
    target,
    "libonnxruntime.so.1",
  );
}

/** Fills `folder`, which must not exist. */
export async function stage(root: string, folder: string, contents: Contents): Promise<Stage> {
  await Deno.mkdir(folder, { recursive: true });
  const config = JSON.parse(await Deno.readTextFile(join(root, "deno.json")));
  const imports = usedImports(root, config.imports);
  const whole: Lockfile = JSON.parse(await Deno.readTextFile(join(root, "deno.lock")));
  const lock = pruneLock(whole, new Set(Object.values(imports).map(packageOf)));
  const imported = lockedPackages(lock);
  // Files of these are carried as they are: the program imports none of them.
  const carried = [...PAGE_PACKAGES, FONT_PACKAGE].map((name) => packageOf(config.imports[name]));
  const packages = [...imported, ...lockedPackages(pruneLock(whole, new Set(carried)))];
  const write = (name: string, text: string) => Deno.writeTextFile(join(folder, name), text);
  const { compilerOptions } = config;
  await write("deno.json", JSON.stringify({ nodeModulesDir: "manual", imports, compilerOptions }));
  const dependencies = Object.fromEntries(imported.map(({ name, version }) => [name, version]));
  await write("package.json", JSON.stringify({ dependencies }));
  await copyPackages(root, imported, join(folder, "node_modules"));
  for (const name of ["src", "ffi"]) await copyTree(join(root, name), join(folder, name));
  for (const name of CARRIED.legal) await Deno.copyFile(join(root, name), join(folder, name));
  await write(CARRIED.packageLicenses, licenseTexts(root, packages));
  const textOf = (license: string) => licenseText(root, license);
  await write(CARRIED.page, JSON.stringify(readPageFiles(root)));
  await write(CARRIED.crateLicenses, crateNotices(contents.crates, textOf));

  const large: LargeFile[] = [];
  for (const name of [CARRIED.renderer, CARRIED.font]) {
    large.push({ name, content: await Deno.readFile(join(root, name)) });
  }
  // It came with its package's code, and Deno would keep it in memory.
  await Deno.remove(join(folder, CARRIED.renderer));
  if (contents.library) {
    const content = await Deno.readFile(librarySource(root, contents.target));
    large.push({ name: CARRIED.library, content });
    const notices = Deno.env.get(LIBRARY_NOTICES);
    if (notices) {
      large.push({ name: CARRIED.libraryNotices, content: await Deno.readFile(notices) });
    }
  }
  if (contents.model) {
    const [from, to] = [join(root, CARRIED.models), join(folder, CARRIED.models)];
    await copyTree(from, to);
    for (const path of filesUnder(to)) {
      if (!path.endsWith(".onnx")) continue;
      large.push({ name: relative(folder, path), content: await Deno.readFile(path) });
      // Deno would keep the weights in memory; the name stays, so that they are found.
      await Deno.truncate(path);
    }
  }
  const notes: BuildNotes = {
    commit: await commitOf(root),
    ...(contents.library ? { ort: config.imports["onnxruntime-node"].split("@").at(-1) } : {}),
    appended: await placeFiles(large),
  };
  await write(CARRIED.notes, JSON.stringify(notes));
  const included = [
    ...WORKERS,
    ...CARRIED.legal,
    ...[CARRIED.packageLicenses, CARRIED.crateLicenses, CARRIED.page, CARRIED.notes],
    ...(contents.model ? [CARRIED.models] : []),
  ];
  return { folder, notes, packages, included, large };
}

/** The entries of the import map that the program uses: tests have more. */
function usedImports(root: string, imports: Record<string, string>): Record<string, string> {
  const used = new Set<string>();
  for (const folder of ["src", "ffi"]) {
    for (const path of filesUnder(join(root, folder))) {
      if (!path.endsWith(".ts")) continue;
      for (const [, name] of Deno.readTextFileSync(path).matchAll(/\bfrom "([^".][^"]*)"/g)) {
        if (Object.hasOwn(imports, name)) used.add(name);
      }
    }
  }
  return Object.fromEntries(Object.entries(imports).filter(([name]) => used.has(name)));
}

function* filesUnder(folder: string): Generator<string> {
  for (const { name, isDirectory } of Deno.readDirSync(folder)) {
    if (isDirectory) yield* filesUnder(join(folder, name));
    else yield join(folder, name);
  }
}

async function copyTree(from: string, to: string): Promise<void> {
  await Deno.mkdir(to, { recursive: true });
  for await (const { name, isDirectory } of Deno.readDir(from)) {
    if (isDirectory) await copyTree(join(from, name), join(to, name));
    else await Deno.copyFile(join(from, name), join(to, name));
  }
}

/** The commit, with `+` where what is compiled differs from it; `undefined` outside of a clone. */
async function commitOf(root: string): Promise<string | undefined> {
  try {
    const commit = (await run("git", ["-C", root, "rev-parse", "--short=12", "HEAD"])).trim();
    const compiled = ["src", "ffi", "models", "deno.json", "deno.lock"];
    const changes = await run("git", ["-C", root, "status", "--porcelain", "--", ...compiled]);
    return commit + (changes.trim() === "" ? "" : "+");
  } catch {
    return undefined;
  }
}
