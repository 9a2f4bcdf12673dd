import { assertEquals, assertThrows } from "@std/assert";
import { BadInputError } from "../../src/errors.ts";
import { formatRecord, parseJournal } from "../../src/service/journal.ts";
import {
  type JournalEvent,
  modelBefore,
  modelsToKeep,
  standingOf,
} from "../../src/service/records.ts";

const AT = "2026-01-02T03:04:05.000Z";
const SCORES = { inUse: { loss: 2 }, candidate: { loss: 1 }, margin: 0.01, better: true } as const;

const cycle = (name: string): JournalEvent[] => [
  { step: "begun", cycle: name, data: `sha256:${name}`, rows: 8, heldOut: 1 },
  { step: "trained", cycle: name },
  { step: "merged", cycle: name },
  { step: "evaluated", cycle: name, against: null, ...SCORES },
  { step: "promoted", cycle: name, from: null },
];

/** The bytes of a journal with these events. */
function journalOf(events: readonly JournalEvent[]): Uint8Array {
  const chunks: number[] = [];
  let { digits } = parseJournal(new Uint8Array(), "journal");
  for (const event of events) {
    const written = formatRecord({ ...event, at: AT }, digits);
    digits = written.digits;
    chunks.push(...written.line);
  }
  return Uint8Array.from(chunks);
}

Deno.test("parseJournal() gives the whole records of a journal that is cut at any byte", () => {
  const bytes = journalOf(cycle("0001"));
  for (let size = 0; size <= bytes.length; size++) {
    const { records, sizeBytes } = parseJournal(bytes.subarray(0, size), "journal");
    const whole = bytes.subarray(0, size).filter((byte) => byte === 0x0a).length;
    assertEquals(records.length, whole);
    assertEquals(sizeBytes, size === 0 ? 0 : bytes.subarray(0, size).lastIndexOf(0x0a) + 1);
  }
  assertEquals(parseJournal(bytes, "journal").records.map(({ step }) => step), [
    "begun",
    "trained",
    "merged",
    "evaluated",
    "promoted",
  ]);
});

Deno.test("parseJournal() takes what a power loss left after the last record for a cut write", () => {
  const bytes = journalOf(cycle("0001"));
  for (
    const tail of [new Uint8Array(4096), Uint8Array.of(0x31, 0x0a, 0x32), bytes.subarray(1, 90)]
  ) {
    const { records, sizeBytes } = parseJournal(Uint8Array.from([...bytes, ...tail]), "journal");
    assertEquals([records.length, sizeBytes], [5, bytes.length]);
  }
});

Deno.test("parseJournal() refuses a journal whose last line was changed after it was written", () => {
  const bytes = journalOf(cycle("0001"));
  for (const at of [5, 40, 200]) {
    const changed = bytes.slice();
    changed[changed.length - at] ^= 1;
    if (changed.subarray(0, -1).lastIndexOf(0x0a) !== bytes.subarray(0, -1).lastIndexOf(0x0a)) {
      continue;
    }
    assertThrows(() => parseJournal(changed, "journal"), BadInputError, "journal:");
  }
});

Deno.test("parseJournal() refuses a journal of which a line before the last was changed, naming it", () => {
  const bytes = journalOf(cycle("0001"));
  const changed = bytes.slice();
  changed[bytes.indexOf(0x0a) + 30] ^= 1;
  assertThrows(() => parseJournal(changed, "/s/journal"), BadInputError, "/s/journal:2: the line");
  // A line that is taken out leaves the others without the one they stand on.
  const without = bytes.slice(bytes.indexOf(0x0a) + 1);
  assertThrows(() => parseJournal(without, "/s/journal"), BadInputError, "/s/journal:1: the line");
});

function standing(...events: JournalEvent[]) {
  return standingOf(events.map((event) => ({ ...event, at: AT })));
}

Deno.test("standingOf() goes back to where a promotion came from, past what was rolled back", () => {
  const there = () => true;
  const two = [...cycle("0001"), ...cycle("0002")];
  assertEquals(modelBefore(standing(...two), there), "0001");
  const back = [...two, { step: "rolled back", to: "0001", from: "0002" }] as JournalEvent[];
  assertEquals([standing(...back).inUse, modelBefore(standing(...back), there)], ["0001", null]);
  const third = [...back, ...cycle("0003")];
  assertEquals(modelBefore(standing(...third), there), "0001");
  assertEquals(modelBefore(standing(...third), (name) => name !== "0001"), null);
});

Deno.test("modelsToKeep() keeps the newest, and always the model in use and the one before it", () => {
  const four = ["0001", "0002", "0003", "0004"].flatMap(cycle);
  assertEquals([...modelsToKeep(standing(...four), 3)].sort(), ["0002", "0003", "0004"]);
  assertEquals([...modelsToKeep(standing(...four), 1)].sort(), ["0003", "0004"]);
  const back = [...four, { step: "rolled back", to: "0002", from: "0004" }] as JournalEvent[];
  assertEquals([...modelsToKeep(standing(...back), 2)].sort(), ["0001", "0002"]);
});
