/** The arm64 binary under qemu: it does what the x64 one does. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path";
import { arm64Binary, type Binary, ownBinary, printed } from "../helpers/binary.ts";
import { modelDir } from "../helpers/fixture_models.ts";
import { testNeeding } from "../helpers/requirements.ts";
import { inTempDir, pairs, readMetrics } from "../helpers/training_runs.ts";

const missing = [ownBinary, arm64Binary].find((found) => typeof found === "string") as
  | string
  | undefined;
const binaries = { x64: ownBinary as Binary, arm64: arm64Binary as Binary };
type Machine = keyof typeof binaries;

/** Emulated, and beside other tests, tokenizers take their time. */
const SLOW = { GRAFT_TEXT_DEADLINE_MS: "120000" };
const MODEL = modelDir("tiny-llama-genai-int4");
/** Losses of ten steps may differ by this much. */
const LOSS_TOLERANCE = 1e-4;

testNeeding(
  missing,
  "GRAFT_REQUIRE_TOOLS",
  "the arm64 binary knows its machine",
  () =>
    inTempDir(async (cwd) => {
      const env = { GRAFT_CACHE_DIR: join(cwd, "cache") };
      const text = await printed(binaries.arm64, ["--version"], { cwd, env });
      assertMatch(
        text,
        /aarch64-unknown-linux-gnu\nONNX Runtime 1\.\d+\.\d+: CPUExecutionProvider\n$/,
      );
      const { version } = JSON.parse(
        await printed(binaries.arm64, ["doctor", "--json"], { cwd, env }),
      );
      assert(text.startsWith(`graft ${version} (`));
    }),
);

testNeeding(
  missing,
  "GRAFT_REQUIRE_TOOLS",
  "the arm64 binary trains, merges and runs as the x64 one",
  () =>
    inTempDir(async (cwd) => {
      await Deno.writeTextFile(join(cwd, "pairs.jsonl"), pairs(4));
      const run = (machine: Machine, ...args: string[]) =>
        printed(binaries[machine], [...args, "--threads=1"], {
          cwd,
          env: { GRAFT_CACHE_DIR: join(cwd, "cache"), ...SLOW },
        });
      const whole = async (machine: Machine): Promise<string> => {
        const [adapter, merged] = [`${machine}-adapter`, `${machine}-merged`];
        await run(
          machine,
          ...["train", "--model", MODEL, "--data", "pairs.jsonl", "--adapter-path", adapter],
          ...["--iters=10", "--batch-size=4", "--steps-per-report=1", "--learning-rate=1e-2"],
          "--validation-split=0",
        );
        await run(
          machine,
          ...["merge", "--model", MODEL, "--adapter-path", adapter, "--save-path", merged],
          ...["--method=nearest", "--force", "--no-latency"],
        );
        return await run(
          machine,
          "run",
          merged,
          "--raw",
          "-n",
          "8",
          "What colour is the red card?",
        );
      };
      const [expected, found] = [await whole("x64"), await whole("arm64")];
      const [x64, arm64] = (["x64", "arm64"] as const).map((machine) =>
        readMetrics(join(cwd, `${machine}-adapter`)).map(({ loss }) => loss!)
      );
      assertEquals([x64.length, arm64.length], [10, 10]);
      x64.forEach((loss, step) =>
        assert(Math.abs(loss - arm64[step]) <= LOSS_TOLERANCE, `${step}: ${loss}, ${arm64[step]}`)
      );
      assert(x64[9] < x64[0], `${x64}`);
      assertEquals(found, expected);
    }),
);
