/** A process that stays through a round, or only looks at one, holds little: it loads no training. */
import { assertEquals } from "@std/assert";
import { loadedFiles } from "../../scripts/loaded_files.ts";

const ROOT = new URL("../../", import.meta.url).pathname;

for (const verb of ["train", "status", "ask", "rollback"]) {
  Deno.test(`graft service ${verb} loads neither operators nor plans nor the runtime`, async () => {
    const loaded = await loadedFiles(ROOT, `src/cli/service/service_${verb}.ts`);
    const heavy = loaded.filter((path) => /^(src\/(ops|plan|runtime\/ort)|ffi\/api)/.test(path));
    assertEquals(heavy, []);
  });
}
