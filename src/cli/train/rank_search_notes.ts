/** What `graft rank-search` says while it runs. */
import type { FineTuneEvent } from "../../finetune/mod.ts";
import type { RankSearchEvent } from "../../tasks/rank_search.ts";
import type { TrialRecord } from "../../tasks/rank_search/trial_journal.ts";
import { formatSeconds, formatShare } from "../terminal/format.ts";
import { paint, type Terminal } from "../terminal/output.ts";
import { formatTable } from "../terminal/table.ts";
import { inFlags } from "../parameter_names.ts";
import { notePreparation } from "./preparation_notes.ts";

type Of<Kind extends RankSearchEvent["kind"]> = RankSearchEvent & { readonly kind: Kind };

/** Prints the events of a search as they come: of trainings those of the first, and what is unusual. */
export function searchNotes(terminal: Terminal): (event: RankSearchEvent) => void {
  let began: Of<"trial began"> | undefined;
  let trials = 0;
  return (event) => {
    switch (event.kind) {
      case "planned":
        return terminal.note(plan(event));
      case "trial began":
        if (event.rank > 0) return;
        began = event;
        trials++;
        return;
      case "ranks":
        return terminal.note(
          `${event.count} ranks search together (${event.library}): each trains whole adapters`,
        );
      case "training":
        return noteTraining(event.event, trials <= 1, began, terminal);
      case "trial ended":
        return terminal.note(formatRecord(event.record, event.known));
      case "trial failed":
        return terminal.note(paint(terminal, "yellow", `${event.name}: ${inFlags(event.reason)}`));
      case "ranks by layer":
        return noteRanks(event, terminal);
    }
  };
}

function plan({ seeds, rungs, ranks }: Of<"planned">): string {
  const last = rungs.length > 1 ? `${rungs.slice(0, -1).join(", ")} and ` : "";
  return `Ranks: ${ranks.join("; ")}. Each is trained ${seeds.length} times, and compared after ` +
    `${last}${rungs.at(-1)} steps`;
}

function noteTraining(
  event: FineTuneEvent,
  first: boolean,
  began: Of<"trial began"> | undefined,
  terminal: Terminal,
): void {
  switch (event.kind) {
    case "step":
      if (!terminal.interactive || began === undefined) return;
      return terminal.status(
        `${began.name}, seed ${began.seed}: step ${event.step}/${began.steps}, loss ${
          event.loss.toFixed(4)
        }`,
      );
    case "paused":
      return terminal.note(
        paint(terminal, "yellow", `Paused: ${inFlags(event.reason)}`),
      );
    case "continued":
      return terminal.note(`Going on, ${formatSeconds(event.seconds)} later`);
    case "checkpoint ignored":
      return terminal.note(paint(terminal, "yellow", event.text));
    case "resumed":
    case "started":
    case "report":
    case "evaluated":
    case "skipped":
    case "checkpoint":
    case "saved":
    case "stored":
    case "tested":
    case "prefix cache opened":
    case "prefix cache busy":
    case "prefix cache damaged":
    case "prefix cache full":
    case "prefix cache removed":
    case "prefix cache failed":
    case "waited":
      return;
    default:
      // All trainings have model, data and device in common.
      if (first) notePreparation(event, terminal);
  }
}

function formatRecord({ name, seed, steps, loss, accuracy, seconds }: TrialRecord, known: boolean) {
  const share = accuracy === undefined ? "" : `accuracy ${(100 * accuracy).toFixed(1)}%, `;
  return `${name}, seed ${seed}, to step ${steps}: ${share}loss ${loss!.toFixed(4)}, ` +
    `${formatSeconds(seconds)}${known ? " (earlier)" : ""}`;
}

function noteRanks({ modules }: Of<"ranks by layer">, terminal: Terminal): void {
  const whole = Math.hypot(...modules.map(({ norm }) => norm));
  const lines = formatTable(modules, [
    { heading: "module", cell: ({ path }) => path },
    { heading: "rank", cell: ({ rank }) => rank },
    { heading: "of the gradient's norm", cell: ({ norm }) => formatShare(norm / whole) },
    { heading: "largest direction", cell: ({ largest }) => formatShare(largest / whole) },
  ]);
  for (const line of lines) terminal.note(line);
}
