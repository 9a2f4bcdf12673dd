import { assertEquals } from "@std/assert";
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
function journalOf(events: readonly JournalEvent[]): Uint8Array<ArrayBuffer> {
  const chunks: number[] = [];
  let { digits } = parseJournal(new Uint8Array());
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
    const { records, sizeBytes, damage } = parseJournal(bytes.slice(0, size));
    const whole = bytes.subarray(0, size).filter((byte) => byte === 0x0a).length;
    assertEquals([records.length, damage], [whole, undefined]);
    assertEquals(sizeBytes, size === 0 ? 0 : bytes.subarray(0, size).lastIndexOf(0x0a) + 1);
  }
  assertEquals(parseJournal(bytes).records.map(({ step }) => step), [
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
    const { records, sizeBytes, damage } = parseJournal(Uint8Array.from([...bytes, ...tail]));
    assertEquals([records.length, sizeBytes, damage], [5, bytes.length, undefined]);
  }
});

Deno.test("parseJournal() takes a long last line for a cut write where blocks of it are zeros", () => {
  const why = "no memory ".repeat(400);
  const bytes = journalOf([...cycle("0001"), { step: "interrupted", cycle: "0001", why }]);
  bytes.fill(0, bytes.length - 2000, bytes.length - 1000);
  assertEquals(parseJournal(bytes).records.length, 5);
});

Deno.test("parseJournal() tells a byte that was changed anywhere in a journal, and loses nothing after it", () => {
  const bytes = journalOf(cycle("0001"));
  const begins = [0, ...bytes.keys().filter((at) => bytes[at - 1] === 0x0a)];
  for (let at = 0; at < bytes.length; at++) {
    const changed = bytes.slice();
    changed[at] ^= 1;
    const line = begins.findLastIndex((begin) => begin <= at);
    const { records, sizeBytes, damage } = parseJournal(changed);
    const found = [records.length, sizeBytes, damage?.line, damage?.bytes];
    const rest = changed.slice(begins[line]);
    assertEquals(found, [line, begins[line], line + 1, rest], `byte ${at}`);
  }
});

Deno.test("parseJournal() tells a line that was taken out", () => {
  const bytes = journalOf(cycle("0001"));
  const without = bytes.slice(bytes.indexOf(0x0a) + 1);
  assertEquals(parseJournal(without).damage, { line: 1, bytes: without });
});

Deno.test("parseJournal() takes whole lines for damage that hold no record", () => {
  const good = { step: "promoted", cycle: "0001", from: null };
  for (
    const wrong of [
      ...[{ ...good, step: "constructor" }, { ...good, step: "__proto__" }, { ...good, step: 1 }],
      ...[{ ...good, cycle: "../../etc" }, { ...good, from: "x" }, { step: "promoted" }, [], null],
      { step: "found", inUse: null, models: ["0001", 2] },
      { step: "evaluated", cycle: "0001", against: null, inUse: {}, candidate: {} },
    ]
  ) {
    const { line } = formatRecord({ ...wrong as JournalEvent, at: AT }, "0".repeat(16));
    const { records, damage } = parseJournal(line);
    assertEquals([records, damage?.line], [[], 1], JSON.stringify(wrong));
  }
  const noNumber = { ...cycle("0001")[3], candidate: { loss: NaN } } as JournalEvent;
  assertEquals(parseJournal(journalOf([noNumber])).records.length, 1);
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
