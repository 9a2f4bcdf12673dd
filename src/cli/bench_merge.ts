/** `graft bench merge`: what merging an adapter costs. */
import { join } from "@std/path";
import { randomAdapter } from "../bench/random_adapter.ts";
import { EXIT } from "../errors.ts";
import { loadAdapter } from "../model/adapter_dir.ts";
import { findModelFile } from "../model/find_model.ts";
import { loadOnnx } from "../model/load_onnx.ts";
import { mergeAdapters } from "../model/merge_adapters.ts";
import { processMemory } from "../system/memory.ts";
import { JSON_FLAG, machine, MODEL_FLAG } from "./bench_flags.ts";
import { command } from "./command.ts";
import { integer, text } from "./flags.ts";
import type { Terminal } from "./output.ts";
import { openRunner, RUNTIME_FLAGS } from "./runtime_flags.ts";
import { printTable } from "./table.ts";
import { TRAIN_FLAGS } from "./train_flags.ts";

const MADE_UP = "Made-up adapter";

export default command({
  name: "bench merge",
  summary: "Measure time and memory of a merge, without the measurements of its certificate",
  flags: {
    model: MODEL_FLAG,
    adapterPath: text("Adapter to merge; a made-up one if absent", { placeholder: "DIR" }),
    rank: integer("Its rank", { short: "r", default: 8, min: 1, group: MADE_UP }),
    targetModules: { ...TRAIN_FLAGS.targetModules, group: MADE_UP },
    method: text("How to round", { choices: ["nearest", "8bit", "float"], default: "nearest" }),
    json: JSON_FLAG,
    ...RUNTIME_FLAGS,
  },
  examples: [
    {
      command: "graft bench merge --model ./smollm2-int4 --target-modules all-linear",
      does: "merges a made-up adapter on all layers and drops the result",
    },
    {
      command: "TMPDIR=/var/tmp graft bench merge --model ./smollm2-int4 --adapter-path adapters",
      does: "writes to another disk than the one of temporary files",
    },
  ],
  async run({ flags, terminal }) {
    const path = findModelFile(flags.model);
    const folder = Deno.makeTempDirSync({ prefix: "graft-bench-" });
    try {
      using runner = openRunner(flags);
      using base = loadOnnx(path);
      const adapter = flags.adapterPath === undefined
        ? randomAdapter(base.model, flags)
        : loadAdapter(flags.adapterPath).adapter;
      const before = processMemory();
      let anonymous = before.anonymousBytes;
      const start = performance.now();
      const { chosen } = await mergeAdapters(runner, {
        base: { path, model: base.model, sizeBytes: base.sizeBytes },
        adapters: [{ label: flags.adapterPath ?? "the made-up adapter", adapter, weight: 1 }],
        savePath: join(folder, "merged"),
        method: flags.method,
        latency: false,
        // Called after every matrix, when the most is held.
        onProgress: () => anonymous = Math.max(anonymous, processMemory().anonymousBytes),
      });
      const seconds = (performance.now() - start) / 1000;
      const { peakRssBytes } = processMemory();
      show(
        {
          method: flags.method,
          modules: adapter.lora.size,
          seconds,
          model_mb: mb(base.sizeBytes),
          merged_mb: mb(chosen.sizeBytes),
          model_mb_per_s: mb(base.sizeBytes) / seconds,
          peak_rss_mb: mb(peakRssBytes),
          added_mb: mb(peakRssBytes - before.peakRssBytes),
          added_anonymous_mb: mb(anonymous - before.anonymousBytes),
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
}

function show(
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
    { heading: "model MB", cell: (row) => row.model_mb },
    { heading: "merged MB", cell: (row) => row.merged_mb },
    { heading: "peak MB", cell: (row) => row.peak_rss_mb },
    { heading: "added MB", cell: (row) => row.added_mb },
    { heading: "of its own MB", cell: (row) => row.added_anonymous_mb },
  ], terminal);
}
