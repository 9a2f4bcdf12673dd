/**
 * The quickstart's figures, one run a seed: accuracy on the held-out sentences before and after
 * training and merged, the merge's latency against the base's, seconds, memory.
 *
 * usage: deno run -A scripts/figures/quickstart.ts [--seeds 0,1,2]
 */
import { parseArgs } from "@std/cli/parse-args";
import { graft } from "./children.ts";

const { seeds } = parseArgs(Deno.args, { string: ["seeds"], default: { seeds: "0,1,2" } });
const folder = Deno.makeTempDirSync({ prefix: "graft-figures-" });
try {
  for (const seed of seeds.split(",")) {
    const out = `${folder}/${seed}`;
    const { stdout, seconds, peakMb } = await graft("quickstart", "--seed", seed, "--out", out);
    const before = Number(stdout.match(/before +([\d.]+)%/)?.[1]) / 100;
    const certificate = JSON.parse(Deno.readTextFileSync(`${out}/merged/certificate.json`));
    const merged = certificate.candidates[0];
    console.log(JSON.stringify({
      seed: Number(seed),
      before,
      after: certificate.held_out.adapter.accuracy,
      merged: merged.accuracy,
      gainKept: merged.gain_kept,
      latencyRatio: merged.latency.ratio,
      controlRatio: merged.latency.control_ratio,
      seconds,
      peakMb,
    }));
  }
} finally {
  Deno.removeSync(folder, { recursive: true });
}
