import { assertEquals, assertRejects } from "@std/assert";
import { join } from "@std/path";
import { BadInputError, StorageError } from "../../src/errors.ts";
import { unpackTar } from "../../src/hub/tar.ts";
import { filesIn } from "../helpers/files_in.ts";
import { noise } from "../helpers/hub_pull.ts";
import { tarOf } from "../helpers/tar.ts";

const utf8 = (text: string) => new TextEncoder().encode(text);

/** Unpacks an archive into a folder beside another that must stay empty. */
async function unpacked(
  bytes: Uint8Array,
  check: (folder: string) => void = () => {},
  room = Infinity,
): Promise<void> {
  const root = Deno.makeTempDirSync({ prefix: "graft-tar-" });
  try {
    const [archive, into] = [join(root, "a.tar"), join(root, "into")];
    Deno.writeFileSync(archive, bytes);
    Deno.mkdirSync(into);
    await unpackTar(archive, into, () => room);
    check(into);
  } finally {
    assertEquals(filesIn(root).filter((path) => !/^(a\.tar$|into\/)/.test(path)), []);
    Deno.removeSync(root, { recursive: true });
  }
}

Deno.test("unpackTar() unpacks files and folders, gzipped too", async () => {
  const big = noise(3000);
  const tar = tarOf(
    { name: "./", type: "5" },
    { name: "./m/", type: "5" },
    { name: "./m/a.json", content: utf8("{}") },
    { name: "m/big.onnx", content: big },
    { name: "empty" },
  );
  const check = (folder: string) => {
    assertEquals(filesIn(folder), ["empty", "m/a.json", "m/big.onnx"]);
    assertEquals(Deno.readFileSync(join(folder, "m/big.onnx")), big);
  };
  await unpacked(tar, check);
  const gzip = new Blob([tar]).stream().pipeThrough(new CompressionStream("gzip"));
  await unpacked(await new Response(gzip).bytes(), check);
});

Deno.test("unpackTar() reads what GNU tar and pax write of long names", async () => {
  const long = `${"folder/".repeat(20)}model.onnx`;
  const pax = (line: string) => {
    const size = line.length + 1 + String(line.length + 4).length;
    return utf8(`${size + 1} ${line}\n`);
  };
  const check = (folder: string) => assertEquals(filesIn(folder), [long]);
  await unpacked(
    tarOf({ name: "pax", type: "x", content: pax(`path=${long}`) }, {
      name: "cut",
      content: utf8("1"),
    }),
    check,
  );
  await unpacked(
    tarOf({ name: "././@LongLink", type: "L", content: utf8(`${long}\0`) }, { name: "cut" }),
    check,
  );
});

Deno.test("unpackTar() refuses what leaves its root, links, devices and damage", async (t) => {
  const file = { name: "ok", content: utf8("1") };
  const pax = utf8("22 path=../../escape\n");
  const bad: [string, Uint8Array, string][] = [
    ["..", tarOf({ name: "../x", content: utf8("1") }), '".."'],
    ["inner ..", tarOf({ name: "a/../../x" }), '".."'],
    ["absolute", tarOf({ name: "/tmp/x" }), "absolute"],
    ["a pax path", tarOf({ name: "p", type: "x", content: pax }, file), '".."'],
    ["a symbolic link", tarOf({ name: "x", type: "2", link: "/etc/passwd" }), "a link"],
    ["a hard link", tarOf(file, { name: "x", type: "1", link: "ok" }), "a link"],
    ["a device", tarOf({ name: "x", type: "3" }), "neither a file nor a folder"],
    ["a pipe", tarOf({ name: "x", type: "6" }), "neither a file nor a folder"],
    ["a name twice", tarOf(file, file), "two entries"],
    ["a file as a folder", tarOf(file, { name: "ok/x" }), "two entries"],
    ["an end too early", tarOf({ ...file, size: 5000 }), "ends"],
    ["no archive", noise(2048), "not a tar archive"],
    ["nothing", new Uint8Array(), "ends"],
    ["no files", tarOf(), "has no files"],
    ["a large header", tarOf({ name: "p", type: "x", content: new Uint8Array(70_000) }), "header"],
    ["damaged gzip", new Uint8Array([0x1f, 0x8b, 8, 0, 1, 2, 3]), "cannot be unpacked"],
  ];
  for (const [name, bytes, words] of bad) {
    await t.step(name, () => assertRejects(() => unpacked(bytes), BadInputError, words));
  }
});

Deno.test("unpackTar() refuses what does not fit before it writes it", async () => {
  const tar = tarOf({ name: "x", content: noise(3000) });
  await assertRejects(() => unpacked(tar, () => {}, 2999), StorageError, "no room");
});
