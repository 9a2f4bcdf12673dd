import { assertEquals, assertThrows } from "@std/assert";
import { join } from "@std/path";
import { closeFd, openFolder, readFd } from "../../ffi/libc_at.ts";
import { withFile } from "../../src/system/open_names.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

Deno.test("withFile() opens regular files alone, waits for no pipe, and writes none with another name", () =>
  inTempDir(async (folder) => {
    const at = (name: string) => join(folder, name);
    Deno.writeTextFileSync(at("file"), "content");
    Deno.linkSync(at("file"), at("other name"));
    Deno.mkdirSync(at("folder"));
    Deno.symlinkSync("file", at("link"));
    await new Deno.Command("mkfifo", { args: [at("pipe")] }).output();
    using _socket = Deno.listen({ transport: "unix", path: at("socket") });
    const fd = openFolder(folder);
    try {
      const content = withFile(fd, "file", "read", (file) => {
        const bytes = new Uint8Array(20);
        return new TextDecoder().decode(bytes.subarray(0, readFd(file, bytes)));
      });
      assertEquals(content, "content");
      for (const name of ["folder", "link", "pipe", "socket"]) {
        assertThrows(() => withFile(fd, name, "read", () => {}), Error, undefined, name);
      }
      // These two can be opened.
      assertThrows(() => withFile(fd, "folder", "read", () => {}), Error, "it is a folder");
      assertThrows(() => withFile(fd, "pipe", "read", () => {}), Error, "it is a pipe");
      for (const name of ["file", "other name"]) {
        assertThrows(() => withFile(fd, name, "write", () => {}), Error, "a hard link");
      }
      Deno.removeSync(at("other name"));
      withFile(fd, "file", "write", () => {});
    } finally {
      closeFd(fd);
    }
  }));
