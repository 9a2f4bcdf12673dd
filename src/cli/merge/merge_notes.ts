/** What `graft merge` and `graft bench merge` say while they work. */
import type { MergeEvent } from "../../tasks/merge.ts";
import { noteEncoded } from "../train/encoded_note.ts";
import { messageOf } from "../terminal/exit.ts";
import { longWork } from "../terminal/long_work.ts";
import type { Terminal } from "../terminal/output.ts";
import { PART } from "../train/preparation_notes.ts";
import { noteOfRuntime } from "../open_runner.ts";

/** Prints the events of a merge. */
export function mergeNotes(terminal: Terminal): (event: MergeEvent) => void {
  const show = longWork(terminal);
  return (event) => {
    switch (event.kind) {
      case "progress":
        return show(event.report.text, event.report.share);
      case "runtime note":
        return noteOfRuntime(event.message);
      case "encoded":
        return noteEncoded(PART[event.part], event.report, event.classes, terminal);
      default:
        for (const line of sentences(event)) terminal.note(line);
    }
  };
}

type Noted = Exclude<MergeEvent, { readonly kind: "progress" | "runtime note" | "encoded" }>;

function sentences(event: Noted): readonly string[] {
  switch (event.kind) {
    case "adapter note":
    case "finding":
      return [event.text];
    case "ranks":
      return [`${event.count} ranks measure together (${event.library})`];
    case "data of one":
      return [`Measured on the data of ${event.adapter} alone: --data names data of all adapters`];
    case "no data":
      return ["No data is named, so nothing is measured: --data gives a data folder"];
    case "data unreadable":
      return [
        `The adapter's training data cannot be read: ${messageOf(event.error)}`,
        "So nothing is measured: --data names where the data is now",
      ];
    case "no held-out data":
      return ["There is no held-out data: the training data stands in for it"];
    case "some batches":
      return [
        `Of it ${event.measured} of ${event.batches} batches are measured (--val-batches -1: all)`,
      ];
  }
}
