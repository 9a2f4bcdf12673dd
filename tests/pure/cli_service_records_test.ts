import { assertEquals } from "@std/assert";
import { formatRecord } from "../../src/cli/service/service_records.ts";
import type { JournalEvent } from "../../src/service/records.ts";

const LINES: readonly (readonly [JournalEvent, string])[] = [
  [
    { step: "begun", cycle: "0002", data: "sha256:1", rows: 1200, heldOut: 120, forgotten: 3 },
    "begun        0002: 1,200 rows, 120 held out, without 3 that are gone",
  ],
  [{ step: "trained", cycle: "0002" }, "trained      0002"],
  [
    {
      step: "evaluated",
      cycle: "0002",
      against: null,
      inUse: { loss: 2.302585092994046, guessed: "it scores no classes" },
      candidate: { loss: 0.5, accuracy: 0.915 },
      margin: 0.01,
      better: true,
    },
    "evaluated    0002: loss 0.5000, accuracy 91.5%; guessing: loss 2.3026: better",
  ],
  [{ step: "promoted", cycle: "0002", from: null }, "promoted     0002 in the place of the base"],
  [{ step: "rolled back", to: null, from: "0002" }, "rolled back  0002 to the base"],
  [
    { step: "found", inUse: "0002", models: ["0001", "0002"] },
    "found        0001, 0002; in use: 0002",
  ],
  [
    { step: "found", inUse: null, models: [], damagedLine: 3, keptAs: "journal.damaged-0a1b2c3d" },
    "found        no models; in use: the base; damaged from line 3 on: journal.damaged-0a1b2c3d",
  ],
  [
    {
      step: "evaluated",
      cycle: "0003",
      against: "0002",
      inUse: { loss: 0.5 },
      candidate: JSON.parse(JSON.stringify({ loss: Infinity })),
      margin: 0.01,
      better: false,
    },
    "evaluated    0003: loss no number; 0002: loss 0.5000: no better",
  ],
  [
    {
      step: "evaluated",
      cycle: "0003",
      against: "0002",
      inUse: { loss: 0.5, instead: { model: "0001", why: "0002 is cut" } },
      candidate: { loss: 0.4 },
      margin: 0.01,
      better: true,
    },
    "evaluated    0003: loss 0.4000; 0001: loss 0.5000: better",
  ],
  [
    { step: "rejected", cycle: "0003", why: "\x1b]0;title\x07two\nlines" },
    "rejected     0003:  ]0;title two lines",
  ],
  [{ step: "failed", cycle: "0003", why: "no memory" }, "failed       0003: no memory"],
];

Deno.test("formatRecord() says what happened without the journal's own words", () => {
  for (const [event, line] of LINES) {
    assertEquals(
      formatRecord({ ...event, at: "2026-01-02T03:04:05.678Z" }),
      `2026-01-02T03:04:05Z  ${line}`,
    );
  }
});
