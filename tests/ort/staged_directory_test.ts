import { assert, assertEquals } from "@std/assert";
import { basename, fromFileUrl, join } from "@std/path";
import { clearLeftovers } from "../../src/model/leftovers.ts";
import { StagedDirectory } from "../../src/model/staged_directory.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

const names = (path: string) => [...Deno.readDirSync(path)].map(({ name }) => name).sort();

Deno.test("clearLeftovers() removes what nobody writes, and puts back what was moved aside", () =>
  inTempDir((path) => {
    using writing = new StagedDirectory(join(path, "mine"));
    for (const name of [".unfinished-model-mine-8bit", ".replaced-model-old", "new"]) {
      Deno.mkdirSync(join(path, name));
      Deno.writeTextFileSync(join(path, name, "model.onnx"), name);
    }
    Deno.mkdirSync(join(path, ".replaced-model-new"));
    // A training's, which it clears by itself.
    Deno.mkdirSync(join(path, ".unfinished-step-000010"));
    clearLeftovers(path);
    assertEquals(
      names(path),
      [".unfinished-step-000010", basename(writing.path), "new", "old"].sort(),
    );
    assertEquals(Deno.readTextFileSync(join(path, "old", "model.onnx")), ".replaced-model-old");
    return Promise.resolve();
  }));

Deno.test("StagedDirectory writes beside others of the same target, and over what they abandoned", () =>
  inTempDir((path) => {
    const target = join(path, "merged");
    const first = new StagedDirectory(target, "8bit");
    first.write("model.onnx", [Uint8Array.of(1)]);
    const second = new StagedDirectory(target, "8bit");
    assert(second.path !== first.path);
    second[Symbol.dispose]();
    first.commit();
    first[Symbol.dispose]();
    assertEquals(names(path), ["merged"]);
    Deno.mkdirSync(first.path);
    Deno.writeTextFileSync(join(first.path, "abandoned"), "");
    using third = new StagedDirectory(target, "8bit");
    assertEquals(third.path, first.path);
    assertEquals(names(third.path), []);
    return Promise.resolve();
  }));

Deno.test("StagedDirectory is removed when the process ends itself", () =>
  inTempDir(async (path) => {
    const module = fromFileUrl(new URL("../../src/model/staged_directory.ts", import.meta.url));
    const program = `import { StagedDirectory } from ${JSON.stringify(module)};
      const staged = new StagedDirectory(Deno.args[0]);
      staged.write("model.onnx", [Uint8Array.of(1)]);
      console.log(staged.path);
      Deno.exit(3);`;
    const { code, stdout } = await new Deno.Command(Deno.execPath(), {
      args: ["eval", program, join(path, "merged")],
    }).output();
    assertEquals(code, 3);
    assert(new TextDecoder().decode(stdout).startsWith(join(path, ".unfinished-model-merged")));
    assertEquals(names(path), []);
  }));
