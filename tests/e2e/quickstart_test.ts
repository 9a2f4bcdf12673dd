import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { join } from "@std/path";
import { takeFolder } from "../../src/cli/train/quickstart_folder.ts";
import { UsageError } from "../../src/errors.ts";
import { graftProcess as graft } from "../helpers/graft.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

Deno.test("graft quickstart learns, merges, certifies and answers", () =>
  inTempDir(async (path) => {
    const out = join(path, "made here");
    const { code, stdout, stderr } = await graft(
      "quickstart",
      "--out",
      out,
      "how",
      "many hinges are there",
      "--threads=1", // idle threads that spin would take the cores of other tests
    );
    assertEquals(code, 0, stderr);
    assertStringIncludes(stderr, "Trainable parameters: ");

    const accuracy = (name: string) => {
      const found = stdout.match(new RegExp(`^ +${name} +([\\d.]+)%`, "m"));
      assert(found !== null, stdout);
      return Number(found![1]);
    };
    assert(accuracy("after") >= 90, stdout);
    assert(accuracy("merged") >= 90, stdout);
    assert(accuracy("before") < accuracy("after"), stdout);
    assert(/^Latency of merged against base: \d/m.test(stdout), stdout);
    assertStringIncludes(stdout, "\ninventory_check\t");

    const certificate = JSON.parse(Deno.readTextFileSync(join(out, "merged/certificate.json")));
    assertEquals(certificate.held_out.targets, 132);
    assertEquals(certificate.forced, false);

    // The first command it says to try next, as a shell would read it.
    const next = stdout.match(/^ {2}(?:.*task graft|\S*\/graft-\S+) (run .*)$/m);
    assert(next !== null, stdout);
    const words = [...next![1].matchAll(/'([^']*)'|"([^"]*)"|(\S+)/g)]
      .map(([, single, double, bare]) => single ?? double ?? bare);
    const again = await graft(...words);
    assertEquals(again.code, 0, again.stderr);
    assert(/^inventory_check\t0\.\d+\n$/.test(again.stdout), again.stdout);
  }));

Deno.test("graft quickstart refuses a folder with other things in it and leaves them", () =>
  inTempDir(async (path) => {
    Deno.writeTextFileSync(join(path, "thesis.txt"), "mine");
    const { code, stderr } = await graft("quickstart", "--out", path);
    assertEquals(code, 2);
    assertStringIncludes(stderr, path);
    assertStringIncludes(stderr, "thesis.txt");
    assertEquals(Array.from(Deno.readDirSync(path), ({ name }) => name), ["thesis.txt"]);
  }));

Deno.test("takeFolder() replaces what an earlier quickstart made and nothing beside it", () =>
  inTempDir((path) => {
    const out = join(path, "out");
    const first = takeFolder(out);
    Deno.mkdirSync(first.merged);
    Deno.writeTextFileSync(join(first.merged, "model.onnx"), "old");
    Deno.writeTextFileSync(join(out, "notes.txt"), "mine");
    assertEquals(takeFolder(out), first);
    assertEquals(Deno.readTextFileSync(join(out, "notes.txt")), "mine");
    assertThrows(() => Deno.statSync(first.merged), Deno.errors.NotFound);
  }));

Deno.test("takeFolder() takes an empty folder and refuses a file", () =>
  inTempDir((path) => {
    takeFolder(path);
    const file = join(path, "file");
    Deno.writeTextFileSync(file, "");
    assertThrows(() => takeFolder(file), UsageError, "it is a file");
  }));
