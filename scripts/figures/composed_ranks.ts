/**
 * The gain that an adapter keeps at smaller ranks (`graft compose --svd`): losses on held-out rows of the
 * base, the adapter, and the nearest adapter of each rank, as JSON lines.
 *
 * usage: deno run -A scripts/figures/composed_ranks.ts MODEL ADAPTER DATA [RANKS, default 1,4,8]
 */
import { composeAdapters } from "../../src/tasks/compose.ts";
import { evaluate } from "../../src/tasks/evaluate.ts";

const [model, adapter, data, ranks = "1,4,8"] = Deno.args;
const lossWith = async (adapterPath?: string) =>
  (await evaluate({ model, adapterPath, data })).loss;

const [base, full] = [await lossWith(), await lossWith(adapter)];
console.log(JSON.stringify({ adapter: "none", loss: base }));
const folder = Deno.makeTempDirSync({ prefix: "graft-figures-" });
for (const rank of ranks.split(",").map(Number)) {
  const savePath = `${folder}/${rank}`;
  composeAdapters({ adapterPath: [adapter], combinationType: "svd", rank, savePath, model });
  const loss = await lossWith(savePath);
  console.log(JSON.stringify({ rank, loss, gainKept: (base - loss) / (base - full) }));
}
console.log(JSON.stringify({ adapter: "whole", loss: full, gainKept: 1 }));
Deno.removeSync(folder, { recursive: true });
