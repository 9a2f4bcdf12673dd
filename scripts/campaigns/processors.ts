/**
 * Runs tests as on other processors: `deno task campaign:processors [--cpu avx2,cortex-a72] [FILE…]`.
 *
 * ONNX Runtime's kernels differ by what a processor has, and so do their sums. x64 runs at full speed,
 * instruction sets hidden by `processors/cpuid_mask.c` (gcc): from the process where its processor can
 * make `cpuid` fault, else from ONNX Runtime's library alone (objdump). arm64 is emulated, and x64 where
 * nothing can be hidden. Emulation gives the numbers that such a processor computes, and tells nothing of
 * its speed. It needs qemu and the C and C++ libraries of arm64
 * (`apt-get install qemu-user libc6-arm64-cross libstdc++6-arm64-cross libgcc-s1-arm64-cross`); Deno for
 * arm64 comes from npm, ONNX Runtime's library from the package that graft uses anyway.
 *
 * `--cpu` names kinds of `processors/ways.ts`, or any arm64 processor that qemu knows. With `--quick`
 * emulated ones run the files that take them minutes (`QUICK`) alone. Prints one JSON object a processor
 * and ends with 1 where a test fails on one. A processor that cannot be run is told and left out, with
 * GRAFT_REQUIRE_TOOLS=1 a failure.
 */
import { parseArgs } from "@std/cli/parse-args";
import { ROOT } from "../bench/context.ts";
import { countCases, type Counts, inTurns, jobCount, sumCounts } from "../test.ts";
import { thisHost } from "./processors/host.ts";
import { ortLibraryFor } from "./processors/ort_library.ts";
import { type Kind, KINDS, type Way, wayTo } from "./processors/ways.ts";

/** Every form of 8-bit product and of dequantising, forward and backward, and what rounds activations. */
const QUICK = [
  "tests/ort/step_forms_test.ts",
  "tests/ort/saturates_test.ts",
  "tests/ort/contrib_mat_mul_n_bits_test.ts",
];

/** Beside these, whole models that are computed in such products. */
const TESTS = [
  ...QUICK,
  "tests/ort/train_fast_test.ts",
  "tests/ort/step_packing_test.ts",
  "tests/ort/lora_inject_test.ts",
  "tests/ort/scale_forms_test.ts",
  "tests/ort/paired_rows_test.ts",
];

/** A test file on a processor. */
interface Task {
  readonly processor: string;
  readonly kind: Kind;
  readonly way: Way;
  readonly file: string;
}

/** Runs a test file, and prints what it said where it failed. */
async function runTask({ processor, kind: { arch }, way, file }: Task): Promise<Counts> {
  const own = Deno.makeTempDirSync({ dir: folder });
  const report = `${own}/report.xml`;
  const [command, ...before] = way.command;
  const { success, stdout, stderr } = await new Deno.Command(command, {
    args: [
      ...[...before, "test", "-A", "--no-check", "--cached-only", "--node-modules-dir=manual"],
      ...[`--junit-path=${report}`, file],
    ],
    cwd: ROOT,
    env: {
      ...way.env,
      GRAFT_TEST_ALL: "1",
      // Kernels measured on one processor hold for no other.
      GRAFT_CACHE_DIR: own,
      // Tests look for other releases, with the emulated Deno as a child, where none is named.
      ...(way.how === "emulated"
        ? { DENO_DIR: `${folder}/deno-${arch}`, GRAFT_ORT_LIB: ortLibraryFor(arch) }
        : {}),
      // Processes that a test starts by its own path.
      ...(way.how === "emulated" && arch === "arm64"
        ? { GRAFT_EMULATOR: way.command.slice(0, -1).join(" ") }
        : {}),
    },
    stdin: "null",
  }).output();
  const counts = await Deno.readTextFile(report).then(countCases, () => sumCounts([]));
  if (success && counts.passed > 0) return counts;
  console.log(`${processor}: ${file}`);
  for (const output of [stdout, stderr]) console.log(new TextDecoder().decode(output));
  return counts.failed > 0 ? counts : { ...counts, failed: 1 };
}

const flags = parseArgs(Deno.args, { string: ["cpu"], boolean: ["quick"] });
const processors: readonly string[] = flags.cpu?.split(",") ?? Object.keys(KINDS);
const named = flags._.map(String);
/** Test files for a way of running. */
function testsFor({ how }: Way): readonly string[] {
  if (named.length > 0) return named;
  return flags.quick && how === "emulated" ? QUICK : TESTS;
}
const maySkip = Deno.env.get("GRAFT_REQUIRE_TOOLS") !== "1";

const folder = Deno.makeTempDirSync({ prefix: "graft-processors-" });
let failed = false;
try {
  const host = thisHost(folder);
  const tasks: Task[] = processors.flatMap((processor) => {
    const kind: Kind = KINDS[processor] ?? { arch: "arm64", emulated: processor };
    const way = wayTo(kind, host);
    if (!("missing" in way)) return testsFor(way).map((file) => ({ processor, kind, way, file }));
    console.log(`skipped: ${processor}: ${way.missing}`);
    failed ||= !maySkip;
    return [];
  });
  // Emulated ones take longest: nothing waits for them in the end.
  tasks.sort((a, b) => Number(b.way.how === "emulated") - Number(a.way.how === "emulated"));
  const results = await inTurns(tasks, jobCount(), async (task) => {
    return { ...task, counts: await runTask(task) };
  });
  for (const [processor, all] of Map.groupBy(results, ({ processor }) => processor)) {
    const counts = sumCounts(all.map(({ counts }) => counts));
    const [tests, { how }] = [all.map(({ file }) => file), all[0].way];
    console.log(JSON.stringify({ processor, how, tests, ...counts }));
    failed ||= counts.failed > 0;
  }
} finally {
  Deno.removeSync(folder, { recursive: true });
}
Deno.exit(failed ? 1 : 0);
