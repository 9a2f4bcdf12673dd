import { assert, assertEquals, assertMatch } from "@std/assert";
import {
  formatBytes,
  formatCount,
  formatSeconds,
  formatShare,
} from "../../src/cli/terminal/format.ts";
import { longWork } from "../../src/cli/terminal/long_work.ts";
import type { Terminal } from "../../src/cli/terminal/output.ts";
import {
  formatProgress,
  formatReport,
  progressCallbacks,
} from "../../src/cli/terminal/progress.ts";

/** A terminal that remembers what it was told. */
function recorder(interactive: boolean): Terminal & { lines: string[]; statuses: string[] } {
  const lines: string[] = [];
  const statuses: string[] = [];
  return {
    lines,
    statuses,
    print: (line) => lines.push(line),
    write: (text) => lines.push(text),
    note: (line) => lines.push(line),
    status: (line) => statuses.push(line),
    interactive,
    color: false,
    columns: 80,
  };
}

const REPORT = {
  step: 10,
  totalSteps: 20,
  epoch: 0.5,
  loss: 1.23456,
  learningRate: 2e-4,
  gradNorm: 0.71234,
  tokensPerSecond: 652.4,
  seconds: 12,
};

Deno.test("formatSeconds(), formatBytes(), formatCount(), formatShare() read well", () => {
  assertEquals([4.4, 133, 3733].map(formatSeconds), ["4 s", "2:13", "1:02:13"]);
  assertEquals([87, 18e3, 473e6, 1.52e9].map(formatBytes), ["87 B", "18 kB", "473 MB", "1.5 GB"]);
  assertEquals([7, 1792, 135515328].map(formatCount), ["7", "1,792", "135,515,328"]);
  assertEquals([0.0033923, 1, 0.12].map(formatShare), ["0.339%", "100%", "12%"]);
});

Deno.test("formatProgress() fits the width it is given", () => {
  const state = {
    step: 50,
    totalSteps: 100,
    loss: 1.5,
    tokensPerSecond: 652.4,
    memoryBytes: 473e6,
    secondsLeft: 133,
  };
  const line = formatProgress(state, 200);
  assertMatch(line, /^█{10}░{10} 50\/100 {2}loss 1\.5000 {2}652 tok\/s {2}473 MB {2}2:13 left$/);
  assertEquals(formatProgress(state, 40).length, 39);
});

Deno.test("longWork() redraws a line on a terminal, and elsewhere notes one in half a minute", () => {
  const [screen, log] = [recorder(true), recorder(false)];
  for (const terminal of [screen, log]) {
    let seconds = 0;
    const show = longWork(terminal, () => seconds * 1000);
    for (; seconds < 100; seconds += 7) show(`at ${seconds}`);
  }
  assertEquals([screen.lines.length, screen.statuses.length], [0, 15]);
  assertEquals([log.lines, log.statuses], [["at 35", "at 70"], []]);
});

Deno.test("longWork() shows a bar and the time left where the share of the work is known", () => {
  const [screen, log] = [recorder(true), recorder(false)];
  for (const terminal of [screen, log]) {
    let seconds = 0;
    const show = longWork(terminal, () => seconds * 1000);
    show("begins", 0.01);
    seconds = 40;
    show("goes on", 0.25);
  }
  assertEquals(screen.statuses, [
    "░░░░░░░░░░░░ begins",
    "███░░░░░░░░░ goes on; about 2:00 left",
  ]);
  assertEquals(log.lines, ["goes on; about 2:00 left"]);
});

Deno.test("formatReport() gives loss, rate, norm, speed, memory and time left in one line", () => {
  assertEquals(
    formatReport(REPORT, 473e6, 133),
    "step 10/20: loss 1.2346, learning rate 0.000200, gradient norm 0.712, 652 tok/s, 473 MB, 2:13 left",
  );
});

Deno.test("progressCallbacks() draws a bar on a terminal and writes plain lines elsewhere", () => {
  const terminal = recorder(true);
  const shown = progressCallbacks(terminal, 20, () => 1e6);
  shown.onStep!({ step: 10, loss: 1, tokens: 8 });
  shown.onReport!(REPORT);
  assertEquals(terminal.lines, []);
  assertEquals(terminal.statuses.length, 1);

  const plain = recorder(false);
  const written = progressCallbacks(plain, 20, () => 1e6);
  written.onStep!({ step: 10, loss: 1, tokens: 8 });
  written.onReport!(REPORT);
  written.onEvaluate!({ step: 10, loss: 2, accuracy: 0.5, parts: [], seconds: 1, improved: true });
  written.onSkip!({ step: 11, reason: "its loss is NaN" });
  assertEquals(plain.statuses, []);
  assert(plain.lines[0].startsWith("step 10/20: loss 1.2346"));
  assertEquals(plain.lines.slice(1), [
    "step 10: validation loss 2.0000, accuracy 50.0% (best)",
    "step 11 was skipped: its loss is NaN",
  ]);
});
