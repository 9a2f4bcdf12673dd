/** The arm64 binary under qemu: it does what the x64 one does. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path";
import { arm64Binary, type Binary, ownBinary, printed } from "../helpers/binary.ts";
import { testNeeding } from "../helpers/requirements.ts";
import { inTempDir } from "../helpers/temp_dir.ts";
import { tinyWay } from "../helpers/tiny_way.ts";

const missing = [ownBinary, arm64Binary].find((found) => typeof found === "string") as
  | string
  | undefined;
const binaries = { x64: ownBinary as Binary, arm64: arm64Binary as Binary };

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
      const [x64, arm64] = [
        await tinyWay(binaries.x64, join(cwd, "x64")),
        await tinyWay(binaries.arm64, join(cwd, "arm64")),
      ];
      assertEquals([x64.losses.length, arm64.losses.length], [10, 10]);
      x64.losses.forEach((loss, step) => {
        const found = arm64.losses[step];
        assert(Math.abs(loss - found) <= LOSS_TOLERANCE, `${step}: ${loss}, ${found}`);
      });
      assert(x64.losses[9] < x64.losses[0], `${x64.losses}`);
      assertEquals(arm64.answer, x64.answer);
    }),
);
