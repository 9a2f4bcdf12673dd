/**
 * Trains what `graft quantize` makes of a language model, at 8 bits per channel and at 4 in blocks, as
 * MatMulNBits and as DequantizeLinear, in `exact` and in `fast` in turn: medians of tokens per second
 * and the processes' peak memory. What a run says of its gradient passes through. The model in floats
 * is SmolLM2 dequantised.
 *
 * usage: deno run -A scripts/figures/quantized.ts [SHARED] [ROUNDS] (default: ../shared and 3)
 */
import { median } from "../../src/statistics.ts";
import { graft } from "./children.ts";

const [shared = "../shared", rounds = "3"] = Deno.args;
const base = `${shared}/models/smollm2-135m-instruct-int4`;
const data = `${shared}/data/e2e/bench512.jsonl`;
const NUMERICS = ["exact", "fast"] as const;

const folder = Deno.makeTempDirSync({ prefix: "graft-quantized-" });
const path = (name: string) => `${folder}/${name}`;
try {
  const adapter = ["--adapter-path", path("adapter")];
  await graft("train", "-m", base, "--data", data, "--iters", "1", ...adapter);
  const floats = ["--dequantize", "--no-latency", "--force", "--save-path", path("floats")];
  await graft("merge", "-m", base, ...adapter, ...floats);
  for (const how of [["--bits", "8"], ["--bits", "4"], ["--bits", "4", "--use-qdq"]]) {
    const model = path(how.join(""));
    await graft("quantize", path("floats"), ...how, "--save-path", model);
    const runs = { exact: [], fast: [] } as Record<
      typeof NUMERICS[number],
      { numeric: string; tokens_per_s: number; peak_rss_mb: number }[]
    >;
    for (let round = 0; round < Number(rounds); round++) {
      for (const numeric of NUMERICS) {
        const { stdout } = await graft(
          ...["bench", "train", "-m", model, "--data", data, "--numeric", numeric, "--json"],
          ...["--batch-size", "8", "--steps", "6"],
        );
        runs[numeric].push(JSON.parse(stdout).configurations[0]);
      }
    }
    const figures = (numeric: typeof NUMERICS[number]) => ({
      goesOnIn: runs[numeric][0].numeric,
      tokensPerSecond: median(runs[numeric].map((run) => run.tokens_per_s)),
      peakMb: median(runs[numeric].map((run) => run.peak_rss_mb)),
    });
    console.log(
      JSON.stringify({ quantize: how.join(" "), exact: figures("exact"), fast: figures("fast") }),
    );
  }
} finally {
  Deno.removeSync(folder, { recursive: true });
}
