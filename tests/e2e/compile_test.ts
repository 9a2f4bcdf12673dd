/** What `deno task compile` leaves out on request: compiled here, so it needs the runtime to compile with. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { fromFileUrl, join } from "@std/path";
import { librarySource } from "../../scripts/compile/stage.ts";
import { VERSION } from "../../src/version.ts";
import { native, printed, runAlone } from "../helpers/binary.ts";
import { testNeeding } from "../helpers/requirements.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

const ROOT = fromFileUrl(new URL("../..", import.meta.url));
const missing = Deno.env.get("DENORT_BIN") ? undefined : "DENORT_BIN names no runtime";

testNeeding(
  missing,
  "GRAFT_REQUIRE_TOOLS",
  "deno task compile --no-library --no-model makes a small program, which says what it lacks",
  () =>
    inTempDir(async (out) => {
      const compiled = await new Deno.Command(Deno.execPath(), {
        args: [
          ...["run", "-A", join(ROOT, "scripts/compile.ts"), "--target", "x64"],
          ...["--no-library", "--no-model", "--out", out],
        ],
      }).output();
      assertEquals(compiled.code, 0, new TextDecoder().decode(compiled.stderr));
      const name = `graft-${VERSION}-linux-x64-no-library-no-model`;
      const { size } = await Deno.stat(join(out, name));
      assert(size < 120e6, `${size} bytes`);
      const sums = await Deno.readTextFile(join(out, "SHA256SUMS"));
      assertMatch(sums, new RegExp(`^[0-9a-f]{64}  ${name}$`, "m"));
      const parts = JSON.parse(await Deno.readTextFile(join(out, `${name}.cdx.json`))).components
        .map(({ name }: { name: string }) => name);
      assert(!parts.some((part: string) => /onnxruntime|MiniLM/i.test(part)), String(parts));

      const binary = native(join(out, name));
      const alone = (env: Record<string, string>, ...args: string[]) =>
        runAlone([...binary.words, ...args], {
          cwd: out,
          env: { GRAFT_CACHE_DIR: join(out, "cache"), ...env },
        });
      const without = await alone({}, "inspect", join(ROOT, "models/all-minilm-l6-v2-int8"));
      assertEquals(without.code, 0, without.stderr);
      const model = await alone({}, "run", "default", "a sentence");
      assertEquals(model.code, 65, model.stderr);
      const path = join(ROOT, "models/all-minilm-l6-v2-int8");
      const library = await alone({}, "run", path, "a sentence");
      assertEquals(library.code, 69, library.stderr);
      assertStringIncludes(library.stderr, "GRAFT_ORT_LIB");
      const named = await printed(binary, ["run", path, "a sentence"], {
        cwd: out,
        env: { GRAFT_ORT_LIB: librarySource(ROOT, "x64") },
      });
      assertEquals(JSON.parse(named).length, 384);
    }),
);
