/** The binary on a processor whose 8-bit products saturate, emulated: it computes what it computes here. */
import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import { type Binary, ownBinary, printed } from "../helpers/binary.ts";
import { MINILM_DIR } from "../helpers/fixture_models.ts";
import { testNeeding, toolMissing } from "../helpers/requirements.ts";
import { inTempDir } from "../helpers/temp_dir.ts";
import { SLOW } from "../helpers/tiny_way.ts";

const QEMU = "qemu-x86_64-static";
/** AVX2, no VNNI. */
const PROCESSOR = "Haswell";

const missing = Deno.build.arch !== "x86_64"
  ? "only x64 has such processors"
  : toolMissing(QEMU) ?? (typeof ownBinary === "string" ? ownBinary : undefined);
const native = ownBinary as Binary;
const emulated: Binary = { ...native, words: [QEMU, "-cpu", PROCESSOR, ...native.words ?? []] };

testNeeding(
  missing,
  "GRAFT_REQUIRE_TOOLS",
  "graft run embeds without VNNI as it does here",
  () =>
    inTempDir(async (cwd) => {
      const embed = async (binary: Binary): Promise<number[]> =>
        JSON.parse(
          await printed(binary, ["run", MINILM_DIR, "a red card", "--embedding", "--threads=1"], {
            cwd,
            env: { GRAFT_CACHE_DIR: join(cwd, "cache"), ...SLOW },
          }),
        );
      const [here, there] = [await embed(native), await embed(emulated)];
      assertEquals(there.length, here.length);
      // Saturating, they would be hundredths away.
      there.forEach((value, i) => assert(Math.abs(value - here[i]) < 1e-3, `${value}, ${here[i]}`));
    }),
);
