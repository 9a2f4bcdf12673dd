/** `graft compose`: a new adapter from adapters, or a smaller one from one. */
import { EXIT } from "../../errors.ts";
import { formatShare } from "../../format.ts";
import { COMPOSE_PARAMETERS as P, composeAdapters } from "../../tasks/compose.ts";
import { command } from "../command.ts";
import { boolean, integer, list, number, text } from "../flags.ts";
import { formatTable } from "../terminal/table.ts";
import { parseWeights } from "./adapter_weights.ts";

export default command({
  name: "compose",
  summary: "Make a new adapter of adapters: sum, subtract, concatenate, reduce the rank",
  flags: {
    adapterPath: list("Folders or names of the adapters, with commas", {
      ...P.adapterPath,
      placeholder: "DIRS",
    }),
    adapterWeights: list("Weight of each adapter; negative ones subtract; 1 if absent", {
      placeholder: "NUMBERS",
    }),
    combinationType: text(
      "PEFT's combination: cat keeps the weighted sum exactly and adds the ranks; svd brings it to " +
        "--rank; linear sums A and B each on their own",
      P.combinationType,
    ),
    rank: integer(
      "Rank of the result, for the combinations that end in svd (also --svd); the largest of the adapters if absent",
      { ...P.rank, short: "r", placeholder: "N" },
    ),
    density: number("Share of the elements that ties, dare and magnitude_prune keep", P.density),
    majoritySignMethod: text(
      "How ties elects a sign: by the sum of the values or by their number",
      P.majoritySignMethod,
    ),
    seed: integer("Seed of the elements that dare drops", P.seed),
    model: text(
      "The base, to check that the adapters fit; needed where no adapter was made by graft",
      { ...P.model, short: "m", placeholder: "DIR" },
    ),
    savePath: text("Folder to write", { ...P.savePath, placeholder: "DIR" }),
    force: boolean("Replace the adapter in --save-path", P.force),
  },
  examples: [
    {
      command: "graft compose --adapter-path facts,style --adapter-weights 1,-0.5 --svd 16",
      does: "writes facts minus half of style, at rank 16, in composed",
    },
    {
      command: "graft compose --adapter-path facts,style --combination-type cat --save-path both",
      does: "writes the exact sum, whose rank is the sum of the ranks",
    },
    {
      command: "graft compose --adapter-path facts --rank 4 --save-path small",
      does: "writes the nearest adapter of rank 4, and shows what each rank would keep",
    },
  ],
  run({ flags, terminal }) {
    const { adapterWeights, ...rest } = flags;
    const { kept, modules, rank } = composeAdapters(
      { ...rest, adapterWeights: parseWeights(adapterWeights) },
      { onEvent: ({ text }) => terminal.note(text) },
    );
    const lines = formatTable(kept, [
      { heading: "rank", cell: (row) => row.rank },
      { heading: "of ‖ΔW‖ kept", cell: ({ share }) => formatShare(share) },
      { heading: "least", cell: ({ least }) => formatShare(least) },
      { heading: "in module", cell: ({ leastModule }) => leastModule },
    ]);
    if (kept.length > 0) { for (const line of lines) terminal.print(line); }
    terminal.print(
      `Saved in ${flags.savePath}: ${modules} ${
        modules === 1 ? "module" : "modules"
      } of rank ${rank}`,
    );
    return Promise.resolve(EXIT.ok);
  },
});
