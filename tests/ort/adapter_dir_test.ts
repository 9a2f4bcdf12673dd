import { assert, assertEquals, assertThrows } from "@std/assert";
import { BadInputError } from "../../src/errors.ts";
import { loadAdapter, saveAdapter } from "../../src/model/adapter_dir.ts";
import { adapterBytes } from "../helpers/adapter_bytes.ts";
import { adapterVersion, versionIn } from "../helpers/adapter_versions.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

Deno.test("loadAdapter() reads what saveAdapter() wrote, over an older one too", () =>
  inTempDir((directory) => {
    saveAdapter(`${directory}/a/b`, adapterVersion(1));
    assertEquals(versionIn(`${directory}/a/b`), 1);
    saveAdapter(`${directory}/a/b`, adapterVersion(2));
    assertEquals(versionIn(`${directory}/a/b`), 2);
    assertEquals([...Deno.readDirSync(`${directory}/a/b`)].map(({ name }) => name).sort(), [
      "adapter_config.json",
      "adapter_model.safetensors",
      "graft.json",
      "head.safetensors",
    ]);
  }));

Deno.test("saveAdapter() removes the head of an older adapter that had one", () =>
  inTempDir((directory) => {
    saveAdapter(directory, adapterVersion(1));
    saveAdapter(directory, { ...adapterVersion(2), head: undefined });
    assertEquals(loadAdapter(directory).adapter.head, undefined);
  }));

Deno.test("loadAdapter() finds the old or the new adapter wherever a save was cut short", async () => {
  const files = [...adapterBytes(adapterVersion(2))];
  // Writes of the new files under their pending names, then the renames.
  for (let done = 0; done <= 2 * files.length; done++) {
    await inTempDir((directory) => {
      saveAdapter(directory, adapterVersion(1));
      for (const [name, bytes] of files.slice(0, done)) {
        Deno.writeFileSync(`${directory}/${name}.new`, bytes);
      }
      for (const [name] of files.slice(0, Math.max(0, done - files.length))) {
        Deno.renameSync(`${directory}/${name}.new`, `${directory}/${name}`);
      }
      assertEquals(versionIn(directory), done < files.length ? 1 : 2);
      saveAdapter(directory, adapterVersion(3));
      assertEquals(versionIn(directory), 3);
    });
  }
});

Deno.test("loadAdapter() refuses files that are not those graft.json was saved with", () =>
  inTempDir((directory) => {
    saveAdapter(directory, adapterVersion(1));
    const other = adapterBytes(adapterVersion(2)).get("adapter_model.safetensors")!;
    Deno.writeFileSync(`${directory}/adapter_model.safetensors`, other);
    assertThrows(() => loadAdapter(directory), BadInputError, "remove graft.json");
    Deno.removeSync(`${directory}/graft.json`);
    assertEquals(loadAdapter(directory).notes.length, 1);
  }));

Deno.test("loadAdapter() refuses a pickle and says how to convert it", () =>
  inTempDir((directory) => {
    Deno.writeFileSync(`${directory}/adapter_model.bin`, new Uint8Array([0x80, 2]));
    assertThrows(() => loadAdapter(directory), BadInputError, "safe_serialization=True");
  }));

Deno.test("loadAdapter() names a folder that holds no adapter", () =>
  inTempDir((directory) => {
    assertThrows(() => loadAdapter(directory), BadInputError, "there is no adapter here");
    assertThrows(
      () => loadAdapter(`${directory}/missing`),
      BadInputError,
      "there is no adapter here",
    );
  }));

// PROMISES 12, for an adapter's files.
Deno.test("loadAdapter() opens nothing but regular files of the adapter's own folder", () =>
  inTempDir((directory) => {
    const [inside, elsewhere] = [`${directory}/adapter`, `${directory}/elsewhere`];
    const ways: Readonly<Record<string, (path: string) => void>> = {
      "an absolute link": (path) => Deno.symlinkSync(elsewhere, path),
      "a link with ..": (path) => Deno.symlinkSync("../elsewhere", path),
      "a hard link": (path) => Deno.linkSync(elsewhere, path),
      "a device": (path) => Deno.symlinkSync("/dev/zero", path),
      "a file of the kernel": (path) => Deno.symlinkSync("/proc/self/environ", path),
      "a pipe": (path) => void new Deno.Command("mkfifo", { args: [path] }).outputSync(),
      "a folder": (path) => Deno.mkdirSync(path),
      "a link to itself": (path) => Deno.symlinkSync(path, path),
      "a link to nothing": (path) => Deno.symlinkSync("nowhere", path),
    };
    for (const file of ["adapter_model.safetensors", "adapter_config.json", "graft.json"]) {
      for (const [way, make] of Object.entries(ways)) {
        saveAdapter(inside, adapterVersion(1));
        Deno.renameSync(`${inside}/${file}`, elsewhere);
        make(`${inside}/${file}`);
        const { message } = assertThrows(() => loadAdapter(inside), BadInputError) as Error;
        const told = `${inside}/${file}: it must be a regular file of the adapter's folder`;
        assert(message.startsWith(told), `${way}: ${message}`);
        Deno.removeSync(inside, { recursive: true });
      }
    }
  }));
