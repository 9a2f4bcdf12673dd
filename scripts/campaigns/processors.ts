/**
 * Runs tests on ONNX Runtime's kernels for other processors, emulated:
 * `deno task campaign:processors [--cpu cortex-a72,Haswell] [FILE…]`.
 *
 * Numbers are what the processors compute, times are not. Needs qemu and the C and C++ libraries of
 * arm64 (`apt-get install qemu-user libc6-arm64-cross libstdc++6-arm64-cross`); Deno for arm64 comes
 * from npm, ONNX Runtime's library from the package that graft uses anyway. Ends with 1 where a test
 * fails on a processor.
 */
import { parseArgs } from "@std/cli/parse-args";
import { ROOT } from "../bench/context.ts";

/**
 * By what they multiply 8-bit integers with: nothing of their own, dot products, matrices; of x64
 * SSE and AVX2, both without VNNI (qemu has no AVX-512).
 */
const PROCESSORS: Readonly<Record<string, "arm64" | "x64">> = {
  "cortex-a72": "arm64",
  "cortex-a76": "arm64",
  "max": "arm64",
  "Nehalem": "x64",
  "Haswell": "x64",
};

/** Every form of 8-bit product and of dequantising, forward and backward. */
const TESTS = [
  "tests/ort/step_forms_test.ts",
  "tests/ort/saturates_test.ts",
  "tests/ort/train_fast_test.ts",
  "tests/ort/contrib_mat_mul_n_bits_test.ts",
];

/** Where Debian puts the libraries. */
const LIBRARIES = "/usr/aarch64-linux-gnu";

/** What graft would load on such a processor. */
const libraryFor = (arch: string) =>
  `node_modules/onnxruntime-node/bin/napi-v6/linux/${arch}/libonnxruntime.so.1`;

const flags = parseArgs(Deno.args, { string: ["cpu"] });
const processors: readonly string[] = flags.cpu?.split(",") ?? Object.keys(PROCESSORS);
const tests = flags._.length > 0 ? flags._.map(String) : TESTS;

function run(command: string, args: readonly string[], options: Deno.CommandOptions = {}) {
  try {
    return new Deno.Command(command, {
      args: [...args],
      stdout: "inherit",
      stderr: "inherit",
      ...options,
    })
      .outputSync();
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    console.error(`graft: ${command} is missing: see the head of scripts/campaigns/processors.ts`);
    Deno.exit(69);
  }
}

/** Fetches Deno for arm64, of this Deno's release, and returns its path. */
function fetchDeno(folder: string): string {
  const name = `@deno/linux-arm64-glibc@${Deno.version.deno}`;
  const packed = run("npm", ["pack", "--silent", name], { cwd: folder, stdout: "piped" });
  const file = new TextDecoder().decode(packed.stdout).trim();
  if (!packed.success || !run("tar", ["xf", file], { cwd: folder }).success) Deno.exit(69);
  return `${folder}/package/deno`;
}

const folder = Deno.makeTempDirSync({ prefix: "graft-processors-" });
let failed = 0;
try {
  let forArm64: string | undefined;
  for (const processor of processors) {
    const arch = PROCESSORS[processor] ?? "arm64";
    const emulator = arch === "x64"
      ? ["qemu-x86_64", "-cpu", processor, Deno.execPath()]
      : ["qemu-aarch64", "-L", LIBRARIES, "-cpu", processor, forArm64 ??= fetchDeno(folder)];
    const { success } = run(
      emulator[0],
      [
        ...[...emulator.slice(1), "test", "-A", "--no-check", "--cached-only"],
        ...["--node-modules-dir=manual", ...tests],
      ],
      {
        cwd: ROOT,
        // Tests look for other releases, with the emulated Deno as a child, where none is named.
        env: { DENO_DIR: `${folder}/cache`, GRAFT_ORT_LIB: `${ROOT}${libraryFor(arch)}` },
      },
    );
    console.log(JSON.stringify({ processor, tests, passed: success }));
    if (!success) failed++;
  }
} finally {
  Deno.removeSync(folder, { recursive: true });
}
Deno.exit(failed > 0 ? 1 : 0);
