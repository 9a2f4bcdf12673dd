/** `graft bench merge`: what merging an adapter costs, and where its time goes. */
import { join } from "@std/path";
import { randomAdapter } from "../../bench/random_adapter.ts";
import { EXIT } from "../../errors.ts";
import { gainKept } from "../../lora/merge/mod.ts";
import type { Decision } from "../../lora/merge/certificate_report.ts";
import { adapterFolder, loadAdapter } from "../../model/adapter_dir.ts";
import { findModelFile } from "../../model/find_model.ts";
import { loadOnnx } from "../../model/load_onnx.ts";
import { mergeAdapters } from "../../model/merge_adapters.ts";
import { MergeProgress } from "../../model/merge_progress.ts";
import { openMapped } from "../../system/mapped_file.ts";
import { processMemory } from "../../system/memory.ts";
import { JSON_FLAG, machine, MODEL_FLAG } from "./bench_flags.ts";
import { openMeasuring } from "../../tasks/measuring.ts";
import { command } from "../command.ts";
import { integer, text } from "../flags.ts";
import { MEASURING_FLAGS } from "../merge/merge_flags.ts";
import { mergeNotes } from "../merge/merge_notes.ts";
import type { Terminal } from "../terminal/output.ts";
import { openRunner, RUNTIME_FLAGS } from "../runtime_flags.ts";
import { printTable } from "../terminal/table.ts";
import { TRAIN_FLAGS } from "../train/train_flags.ts";

const MADE_UP = "Made-up adapter";

export default command({
  name: "bench merge",
  summary: "Measure time and memory of a merge, stage by stage",
  flags: {
    model: MODEL_FLAG,
    adapterPath: text("Adapter to merge; a made-up one if absent", { placeholder: "DIR" }),
    rank: integer("Its rank", { short: "r", default: 8, min: 1, group: MADE_UP }),
    targetModules: { ...TRAIN_FLAGS.targetModules, group: MADE_UP },
    method: text(
      "How to round; all but nearest, 8bit and float need data: --data, or the adapter's own",
      {
        choices: ["auto", "nearest", "compensated", "tuned", "8bit", "float"],
        default: "nearest",
      },
    ),
    ...MEASURING_FLAGS,
    json: JSON_FLAG,
    ...RUNTIME_FLAGS,
  },
  examples: [
    {
      command: "graft bench merge --model ./smollm2-int4 --target-modules all-linear",
      does: "merges a made-up adapter on all layers and drops the result",
    },
    {
      command: "graft bench merge --model ./smollm2-int4 --adapter-path adapters --method auto",
      does: "merges and measures as graft merge does, and reports the time of each stage",
    },
    {
      command: "TMPDIR=/var/tmp graft bench merge --model ./smollm2-int4 --adapter-path adapters",
      does: "writes to another disk than the one of temporary files",
    },
  ],
  needs: ["run"],
  async run({ flags, terminal }) {
    const path = findModelFile(flags.model);
    const folder = Deno.makeTempDirSync({ prefix: "graft-bench-" });
    try {
      using runner = openRunner(flags);
      using base = loadOnnx(path, openMapped);
      const adapter = flags.adapterPath === undefined
        ? randomAdapter(base.model, flags)
        : loadAdapter(flags.adapterPath).adapter;
      const from = { path, model: base.model, sizeBytes: base.sizeBytes };
      const onEvent = mergeNotes(terminal);
      const measures = flags.data !== undefined ||
        !["nearest", "8bit", "float"].includes(flags.method);
      using measuring = measures
        ? await openMeasuring(flags, runner, from, {
          card: adapter.card,
          folder: flags.adapterPath && adapterFolder(flags.adapterPath),
        }, onEvent)
        : undefined;
      const before = processMemory();
      let anonymous = before.anonymousBytes;
      const progress = new MergeProgress((report) => {
        // Called after every matrix, when the most is held.
        anonymous = Math.max(anonymous, processMemory().anonymousBytes);
        onEvent({ kind: "progress", report });
      });
      const decision = await mergeAdapters(runner, {
        latency: false,
        ...measuring?.request,
        base: from,
        adapters: [{ label: flags.adapterPath ?? "the made-up adapter", adapter, weight: 1 }],
        savePath: join(folder, "merged"),
        method: flags.method === "auto" ? undefined : flags.method,
        force: true,
        onNote: (line) => terminal.note(line),
      }, progress);
      const seconds = progress.elapsed;
      const { peakRssBytes } = processMemory();
      const { chosen } = decision;
      report(
        {
          method: chosen.method,
          modules: adapter.lora.size,
          seconds,
          model_mb: mb(base.sizeBytes),
          merged_mb: mb(chosen.sizeBytes),
          model_mb_per_s: mb(base.sizeBytes) / seconds,
          peak_rss_mb: mb(peakRssBytes),
          added_mb: mb(peakRssBytes - before.peakRssBytes),
          added_anonymous_mb: mb(anonymous - before.anonymousBytes),
          gain_kept: shareOf(decision),
          stages: Object.fromEntries(progress.seconds),
        },
        { model: flags.model, ...machine(runner) },
        flags.json,
        terminal,
      );
      return EXIT.ok;
    } finally {
      Deno.removeSync(folder, { recursive: true });
    }
  },
});

const mb = (bytes: number) => bytes / 2 ** 20;

function shareOf({ measured: { base, adapter }, chosen: { evaluated } }: Decision): number | null {
  if (base === undefined || adapter === undefined || evaluated === undefined) return null;
  return gainKept(base, adapter, evaluated) ?? null;
}

/** Figures of a merge, under the names that `--json` prints. */
interface MergeFigures {
  readonly method: string;
  readonly modules: number;
  readonly seconds: number;
  readonly model_mb: number;
  readonly merged_mb: number;
  readonly model_mb_per_s: number;
  readonly peak_rss_mb: number;
  /** Growth of the peak, pages of the mapped files included. */
  readonly added_mb: number;
  /** Growth of what is the process's own. */
  readonly added_anonymous_mb: number;
  /** `null` where nothing was measured. */
  readonly gain_kept: number | null;
  /** Seconds by stage. */
  readonly stages: Readonly<Record<string, number>>;
}

/** What the stages do, as a reader may know them. */
const STAGES: Readonly<Record<string, string>> = {
  base: "measuring the base",
  adapter: "measuring base + adapter",
  nearest: "rounding to nearest",
  fitted: "fitting scales, activations collected",
  compensated: "compensated rounding, activations collected",
  scales: "writing scales",
  "8bit": "moving to 8 bits",
  float: "storing floats",
  tuning: "tuning scales",
  comparing: "comparing weights",
  measuring: "measuring the merged model",
  timing: "timing runs",
};

function report(
  figures: MergeFigures,
  measured: { readonly model: string; readonly processor: string; readonly runtime: string },
  json: boolean,
  terminal: Terminal,
): void {
  if (json) {
    terminal.print(JSON.stringify({ ...measured, ...figures }));
    return;
  }
  terminal.print(`${measured.processor}, ${measured.runtime}`);
  printTable([figures], [
    { heading: "method", cell: (row) => row.method },
    { heading: "matrices", cell: (row) => row.modules },
    { heading: "seconds", cell: (row) => row.seconds },
    { heading: "gain kept %", cell: (row) => row.gain_kept === null ? "–" : 100 * row.gain_kept },
    { heading: "model MB", cell: (row) => row.model_mb },
    { heading: "merged MB", cell: (row) => row.merged_mb },
    { heading: "peak MB", cell: (row) => row.peak_rss_mb },
    { heading: "added MB", cell: (row) => row.added_mb },
    { heading: "of its own MB", cell: (row) => row.added_anonymous_mb },
  ], terminal);
  terminal.print("");
  printTable(Object.entries(figures.stages), [
    { heading: "stage", cell: ([name]) => STAGES[name] ?? name },
    { heading: "seconds", cell: ([, seconds]) => seconds },
    { heading: "%", cell: ([, seconds]) => 100 * seconds / figures.seconds },
  ], terminal);
}
