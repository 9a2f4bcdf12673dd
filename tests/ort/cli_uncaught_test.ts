import { assertEquals } from "@std/assert";
import { fromFileUrl } from "@std/path";

const CHILD = fromFileUrl(new URL("../helpers/uncaught_child.ts", import.meta.url));

async function ended(way: string) {
  const { code, stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--allow-env", "--no-check", CHILD, way],
  }).output();
  return { code, text: new TextDecoder().decode(stdout) };
}

Deno.test("onUncaught() ends the process with the exit code of an error that nobody catches", async () => {
  assertEquals(await ended("promise"), { code: 70, text: "nobody waits\n" });
  assertEquals(await ended("timer"), { code: 65, text: "a file is bad\n" });
  assertEquals(await ended("none"), { code: 0, text: "it went on\n" });
});
