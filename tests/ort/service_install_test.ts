import { assert, assertEquals } from "@std/assert";
import { fromFileUrl, join } from "@std/path";
import { modelDir } from "../helpers/fixture_models.ts";
import { testWithTool } from "../helpers/requirements.ts";
import { STRACE } from "../helpers/strace_command.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

const CHILD = fromFileUrl(new URL("../helpers/install_child.ts", import.meta.url));

/** All files and folders under a folder. */
function pathsUnder(folder: string): string[] {
  return [...Deno.readDirSync(folder)].flatMap(({ name, isDirectory }) => {
    const path = join(folder, name);
    return isDirectory ? [path, ...pathsUnder(path)] : [path];
  });
}

testWithTool(
  "strace",
  "what graft service install copies is on the disk after each step: contents, permissions, names",
  () =>
    inTempDir(async (path) => {
      const [folder, program, log, marks] = ["folder", "program", "log", "marks"]
        .map((name) => join(path, name));
      Deno.writeTextFileSync(program, "a program");
      Deno.mkdirSync(marks);
      // These every machine has.
      for (const name of ["opt", "units"]) Deno.mkdirSync(join(folder, name), { recursive: true });
      const [strace, ...follow] = STRACE;
      const { success, stderr } = await new Deno.Command(strace, {
        args: [
          ...[...follow, "-y", "-s", "4096", "-o", log, "-e", "trace=fsync,rename,mkdir,chmod"],
          ...[Deno.execPath(), "run", "-A", "--no-check", CHILD],
          ...[program, modelDir("tiny-llama-genai-int4"), folder, marks],
        ],
      }).output();
      assert(success, new TextDecoder().decode(stderr));
      const lines = Deno.readTextFileSync(log).split("\n").filter((line) =>
        !line.includes(" = -1 ")
      );
      const made = ["opt", "units"].flatMap((name) => pathsUnder(join(folder, name)));
      const installed = join(folder, "opt/graft/bin/graft");
      for (const step of ["program", "model", "file", "units"]) {
        const end = lines.findIndex((line) => line.includes(`mkdir("${join(marks, step)}"`));
        assert(end >= 0, step);
        const last = (pattern: string) =>
          lines.findLastIndex((line, i) => i < end && line.includes(pattern));
        const synced = (path: string) => last(`<${path}>)`);
        // The content before the name.
        const unfinished = join(folder, "opt/graft/bin/.unfinished-graft");
        assert(synced(unfinished) >= 0 && synced(unfinished) < last(`, "${installed}")`));
        for (const at of made) {
          const named = Math.max(last(`, "${at}")`), last(`mkdir("${at}"`));
          const above = join(at, "..");
          const after = `after step "${step}"`;
          // Made by a later step, or renamed with the folder around it.
          if (named < 0 && step !== "units") continue;
          assert(synced(above) > named, `${above} is not synced ${after}: ${at} was made`);
          if (at === installed) continue; // synced under its other name
          const changed = Math.max(named, last(`chmod("${at}"`));
          assert(synced(at) > changed, `${at} is not synced ${after}: it was changed`);
        }
      }
      const modes = ["graft/bin/graft", "graft/train.yaml", "graft/model/model.onnx"]
        .map((name) => Deno.statSync(join(folder, "opt", name)).mode! & 0o777);
      assertEquals(modes, [0o755, 0o644, 0o644]);
    }),
);
