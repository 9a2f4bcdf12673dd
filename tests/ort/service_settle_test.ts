import { assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path";
import { nextCycle } from "../../src/service/records.ts";
import { settle } from "../../src/service/settle.ts";
import { ServiceState } from "../../src/service/state.ts";
import { readEarlier, readInUse, readJournal } from "../../src/service/state_files.ts";
import { serviceFolder } from "../helpers/service_folder.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

/** Settles a folder; returns what was logged. */
function settled(folder: string): string[] {
  const events: string[] = [];
  settle(folder, (priority, message, fields) => {
    events.push(`${priority} ${fields?.EVENT}: ${message}`);
  });
  return events;
}

/** Changes a byte of a line of the journal; returns all bytes from that line on. */
function damage(folder: string, line: number): Uint8Array {
  const path = join(folder, "journal");
  const bytes = Deno.readFileSync(path);
  let begin = 0;
  for (let i = 1; i < line; i++) begin = bytes.indexOf(0x0a, begin) + 1;
  bytes[begin + 40] ^= 1;
  Deno.writeFileSync(path, bytes);
  return bytes.subarray(begin);
}

Deno.test("settle() leaves a folder alone in which a round is at work, and says so", () =>
  inTempDir((folder) => {
    serviceFolder(folder);
    using _round = ServiceState.open(folder);
    const [event, ...others] = settled(folder);
    assertMatch(event, /^notice round at work: A round is at work/);
    assertEquals([others, readInUse(folder).name], [[], "0002"]);
  }));

Deno.test("settle() keeps the model in use, and every byte of the journal, where a line is damaged", () =>
  inTempDir((root) => {
    for (const line of [1, 4, 5, 8]) {
      const folder = join(root, String(line));
      serviceFolder(folder);
      const whole = Deno.readFileSync(join(folder, "journal"));
      const rest = damage(folder, line);
      assertEquals(readJournal(folder).damage?.line, line);
      const [event, ...others] = settled(folder);
      assertMatch(
        event,
        new RegExp(`^error journal damaged: Line ${line} of .*/journal was changed`),
      );
      assertEquals([others, readInUse(folder).name], [[], "0002"]);
      const { records, damage: left, keptFiles: [kept] } = readJournal(folder);
      assertEquals(left, undefined);
      const found = records.at(-1)!;
      assertEquals(found, {
        ...{ step: "found", inUse: "0002", models: ["0001", "0002"] },
        ...{ damagedLine: line, keptAs: kept, at: found.at },
      });
      assertEquals(Deno.readFileSync(join(folder, kept)), rest);
      const before = whole.subarray(0, whole.length - rest.length);
      assertEquals(Deno.readFileSync(join(folder, "journal")).subarray(0, before.length), before);
      // From there on as ever.
      assertEquals(settled(folder), []);
      assertEquals(readEarlier(folder).map(({ name }) => name), ["0001"]);
      using state = ServiceState.open(folder);
      assertEquals([state.rollBack(), state.damagedLine], ["0001", undefined]);
      assertEquals(readInUse(folder).name, "0001");
    }
  }));

Deno.test("settle() keeps the model in use, and uses no name again, where the journal has lost its end", () =>
  inTempDir((root) => {
    // Nothing of the second model, something of it, and a cut within a line.
    for (const [lines, more] of [[0, 0], [3, 0], [4, 0], [5, 0], [5, 20], [7, 0]]) {
      const folder = join(root, `${lines}-${more}`);
      serviceFolder(folder);
      const path = join(folder, "journal");
      const bytes = Deno.readFileSync(path);
      let end = 0;
      for (let i = 0; i < lines; i++) end = bytes.indexOf(0x0a, end) + 1;
      Deno.truncateSync(path, end + more);
      settled(folder);
      assertEquals(readInUse(folder).name, "0002", `${lines} lines`);
      const { records } = readJournal(folder);
      const found = records.at(-1)!;
      const models = ["0001", "0002"];
      assertEquals(found, { step: "found", inUse: "0002", models, at: found.at }, `${lines} lines`);
      settled(folder);
      assertEquals(readJournal(folder).records.length, records.length);
      assertEquals(readEarlier(folder).map(({ name }) => name), ["0001"]);
      using state = ServiceState.open(folder);
      assertEquals(nextCycle(state.standing), "0003");
      assertEquals(state.rollBack(), "0001");
    }
  }));

Deno.test("settle() of a damaged journal that was killed anywhere loses nothing", () =>
  inTempDir((folder) => {
    serviceFolder(folder);
    const rest = damage(folder, 3);
    const damaged = Deno.readFileSync(join(folder, "journal"));
    settled(folder);
    // As a kill leaves it between the two writes.
    Deno.writeFileSync(join(folder, "journal"), damaged);
    settled(folder);
    const { keptFiles } = readJournal(folder);
    assertEquals(keptFiles.length, 1);
    assertEquals(Deno.readFileSync(join(folder, keptFiles[0])), rest);
  }));

Deno.test("settle() says that a journal is damaged while a round is at work, and changes nothing", () =>
  inTempDir((folder) => {
    serviceFolder(folder);
    using _round = ServiceState.open(folder);
    damage(folder, 2);
    const bytes = Deno.readFileSync(join(folder, "journal"));
    assertEquals(settled(folder).map((event) => event.split(":")[0]), [
      "notice round at work",
      "error journal damaged",
    ]);
    assertEquals(Deno.readFileSync(join(folder, "journal")), bytes);
  }));

Deno.test("settle() makes the folder for rows, and leaves an operator's link to another alone", () =>
  inTempDir((root) => {
    const folder = join(root, "state");
    assertEquals(settled(folder), []);
    assertEquals(Deno.statSync(join(folder, "data")).isDirectory, true);
    Deno.removeSync(join(folder, "data"));
    Deno.symlinkSync(root, join(folder, "data"));
    assertEquals(settled(folder), []);
  }));

Deno.test("settle() lets the service answer where its folder cannot be put right", () =>
  inTempDir((folder) => {
    serviceFolder(folder);
    Deno.removeSync(join(folder, "journal"));
    Deno.mkdirSync(join(folder, "journal"));
    const [event, ...others] = settled(folder);
    assertMatch(
      event,
      /^error not settled: .*journal: it is a folder where the service keeps a file/,
    );
    assertEquals([others, readInUse(folder).name], [[], "0002"]);
  }));
