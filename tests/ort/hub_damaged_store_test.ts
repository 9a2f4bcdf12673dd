import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { join } from "@std/path";
import type { Command } from "../../src/cli/command.ts";
import listVerb from "../../src/cli/models/list.ts";
import type { Terminal } from "../../src/cli/terminal/output.ts";
import rmVerb from "../../src/cli/models/rm.ts";
import { BadInputError } from "../../src/errors.ts";
import { AdapterStore } from "../../src/hub/adapter_store.ts";

const FACTS = {
  base_digest: null,
  base: null,
  task: null,
  data_digest: null,
  parents: [],
  metrics: {},
};
const filesOf = (text: string) => new Map([["a.json", new TextEncoder().encode(text)]]);

/** Ways in which an adapter's entry can be damaged: its record, or the file of its name. */
const DAMAGE: Readonly<Record<string, (record: string, name: string) => void>> = {
  "a record cut short": (record) => Deno.truncateSync(record, 20),
  "an empty record": (record) => Deno.truncateSync(record),
  "a record that is a list": (record) => Deno.writeTextFileSync(record, "[]"),
  "a record that is null": (record) => Deno.writeTextFileSync(record, "null"),
  "a record of another format": (record) => Deno.writeTextFileSync(record, '{"format_version": 2}'),
  "a record without fields": (record) => Deno.writeTextFileSync(record, '{"format_version": 1}'),
  "a record with wrong fields": (record) => {
    const fields = JSON.parse(Deno.readTextFileSync(record));
    Deno.writeTextFileSync(record, JSON.stringify({ ...fields, created: 5, metrics: "none" }));
  },
  "no record": (record) => Deno.removeSync(record),
  "a record that is a folder": (record) => {
    Deno.removeSync(record);
    Deno.mkdirSync(record);
  },
  "a name that names nothing": (_, name) => Deno.writeTextFileSync(name, "mill"),
  "a name that leads out": (_, name) => Deno.writeTextFileSync(name, "../".repeat(20)),
  "a name of what is gone": (_, name) => Deno.writeTextFileSync(name, "0".repeat(64)),
};

/** Runs a verb in this process; returns what it wrote. */
async function run(verb: Command, flags: Record<string, unknown>, ...operands: string[]) {
  const [out, notes]: [string[], string[]] = [[], []];
  const terminal: Terminal = {
    print: (line) => void out.push(line),
    write: (text) => void out.push(text),
    note: (line) => void notes.push(line),
    status() {},
    interactive: false,
    color: false,
    columns: 80,
  };
  const code = await verb.run({ flags, given: new Set(), operands, terminal });
  return { code, out: out.join("\n"), notes };
}

for (const [name, damage] of Object.entries(DAMAGE)) {
  Deno.test(`graft list, rm and --save-as pass over ${name}`, async () => {
    const home = Deno.makeTempDirSync({ prefix: "graft-store-" });
    Deno.env.set("GRAFT_HOME", home);
    Deno.env.set("HF_HOME", join(home, "hf"));
    try {
      const store = new AdapterStore();
      store.add("good", filesOf("1"), FACTS);
      store.add("other", filesOf("2"), FACTS);
      const bad = store.add("bad", filesOf("3"), FACTS);
      damage(join(bad.folder, "record.json"), join(store.root, "names", "bad"));

      const listed = await run(listVerb, { all: false, json: true });
      const { adapters } = JSON.parse(listed.out);
      assertEquals(adapters.map(({ name }: { name: string }) => name), ["good", "other"]);
      assertEquals(listed.notes.length, 1);
      assertStringIncludes(listed.notes[0], "The adapter bad is damaged");
      assertStringIncludes(listed.notes[0], "`graft rm bad`");
      assertThrows(() => store.find("bad"), BadInputError, home);

      const remove = (name: string) => run(rmVerb, { all: false, kind: "any", json: true }, name);
      assertEquals((await remove("other")).code, 0);
      assertEquals(store.list().map(({ name }) => name), ["good"]);

      // The same adapter again, under its own name or another, is whole.
      store.add("again", filesOf("3"), FACTS);
      assert(store.list().some(({ name }) => name === "again"));
      damage(join(bad.folder, "record.json"), join(store.root, "names", "bad"));
      store.add("bad", filesOf("4"), FACTS);
      assertEquals(store.find("bad")?.record.size_bytes, 1);
      damage(join(store.find("bad")!.folder, "record.json"), join(store.root, "names", "bad"));
      assertEquals((await remove("bad")).code, 0);
      assertEquals(store.entry("bad"), undefined);
    } finally {
      Deno.removeSync(home, { recursive: true });
    }
  });
}
