/** How time and memory of a training step grow with what the user chooses. */
import { graft } from "../figures/children.ts";
import { workload } from "../figures/workloads.ts";
import type { Context } from "./context.ts";
import type { Setting } from "./graft_side.ts";
import type { Report, ReportTable } from "./results.ts";

interface Sweep {
  readonly title: string;
  /** Flags of each call; a call may sweep over a list. */
  readonly calls: readonly (readonly string[])[];
  /** Why it grows as it does. */
  readonly because: string;
}

const rows = (batch: string, length: string) => ["--batch-size", batch, "--length", length];

const SWEEPS: readonly Sweep[] = [
  {
    title: "Tokens per batch",
    calls: [rows("1,2,4,8,16", "256")],
    because: "every call works on all tokens that run at once: time and activations grow with " +
      "them, weights and what a call costs by itself do not; beyond 1,024 tokens a batch runs a " +
      "few rows at a time, so that memory stays what it is",
  },
  {
    title: "Length, 1,024 tokens a batch",
    calls: [
      rows("16", "64"),
      rows("8", "128"),
      rows("4", "256"),
      rows("2", "512"),
      rows("1", "1024"),
    ],
    because:
      "the same number of tokens; attention's scores grow with the length; one sequence alone is " +
      "divided into spans, one for each thread",
  },
  {
    title: "Layers adapted, 4×256 tokens",
    calls: [[...rows("4", "256"), "--num-layers", "2,8,16,24,30"]],
    because: "nothing below the first adapter is differentiated, and nothing of it is kept",
  },
  {
    title: "Rank, 4×256 tokens",
    calls: [[...rows("4", "256"), "--rank", "4,8,32,128"]],
    because: "an adapter's products are r·(in + out) beside in·out; parameters, gradients and " +
      "moments are four times its size",
  },
];

/** For a look at whether it works. */
const QUICK: readonly Sweep[] = [{ ...SWEEPS[0], calls: [rows("1,2", "32")] }];

/** Tables over tokens per batch, length, layers and rank, a setting a report; each call has its own process. */
export async function* growth(context: Context): AsyncGenerator<Report> {
  const { model } = workload(context.shared, "e2e.qv", context.data);
  const sweeps = context.limit === undefined ? SWEEPS : QUICK;
  for (const setting of SETTINGS) {
    const tables: ReportTable[] = [];
    for (const sweep of sweeps) tables.push(await measured(model, setting, sweep));
    yield {
      workload: `growth ${setting}`,
      about:
        `SmolLM2-135M int4, LoRA on q,v, setting ${setting}, made-up tokens, a quarter of them ` +
        "targets",
      measured_at: new Date().toISOString(),
      rounds: 1,
      peers: [],
      goals: [],
      tables,
      notes: [],
    };
  }
}

const SETTINGS: readonly Setting[] = ["fast", "exact"];

async function measured(
  model: string,
  setting: Setting,
  { title, calls, because }: Sweep,
): Promise<ReportTable> {
  const found: Record<string, number>[] = [];
  for (const flags of calls) {
    const { stdout } = await graft(
      ...["bench", "train", "--json", "--model", model, "--steps", "3"],
      ...["--numeric", setting],
      ...flags,
    );
    found.push(...JSON.parse(stdout).configurations);
  }
  return {
    title: `${title}: ${because}`,
    rows: found.map((row) => ({
      batch: row.batch,
      length: row.length,
      layers: row.num_layers === -1 ? "all" : row.num_layers,
      rank: row.rank,
      "tok/s": row.tokens_per_s,
      "ms/step": row.step_ms,
      "peak MB": row.peak_rss_mb,
      forward: row.forward_ms,
      head: row.head_ms,
      backward: row.backward_ms,
      optimizer: row.optimizer_ms,
    })),
  };
}
