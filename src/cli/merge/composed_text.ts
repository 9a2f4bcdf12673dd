/** What `graft compose` prints and draws of what it composed. */
import { formatShare } from "../../format.ts";
import { rankPlot } from "../../search/search_plot.ts";
import { replaceFile } from "../../system/durable_files.ts";
import type { Composed } from "../../tasks/compose.ts";
import type { MeasuredRanks } from "../../tasks/measure_ranks.ts";
import { formatTable } from "../terminal/table.ts";

/** What each rank keeps, and what was written. */
export function composedLines(composed: Composed, savePath: string): readonly string[] {
  const { kept, modules, rank, measured } = composed;
  const found = new Map(measured?.ranks.map((one) => [one.rank, one]));
  const rows = kept.map((row) => ({ ...row, ...found.get(row.rank) }));
  const share = (value: number | undefined) => value === undefined ? undefined : formatShare(value);
  const table = formatTable(rows, [
    { heading: "rank", cell: (row) => row.rank },
    { heading: "of ‖ΔW‖ kept", cell: (row) => formatShare(row.share) },
    { heading: "least", cell: ({ least }) => formatShare(least) },
    { heading: "in module", cell: ({ leastModule }) => leastModule },
    ...(measured === undefined ? [] : [
      { heading: "loss", cell: ({ loss }: typeof rows[number]) => loss?.toFixed(4) },
      { heading: "of the gain", cell: ({ gainKept }: typeof rows[number]) => share(gainKept) },
    ]),
    ...(measured?.ranks[0].accuracy === undefined ? [] : [
      { heading: "accuracy", cell: ({ accuracy }: typeof rows[number]) => share(accuracy) },
    ]),
  ]);
  return [
    ...(kept.length === 0 ? [] : table),
    ...(measured?.baseLoss === undefined
      ? []
      : [`Without the adapter: loss ${measured.baseLoss.toFixed(4)} on ${measured.dataPath}`]),
    `Saved in ${savePath}: ${modules} ${modules === 1 ? "module" : "modules"} of rank ${rank}`,
  ];
}

/** The same as JSON text. */
export function composedJson(
  { rank, modules, kept, measured }: Composed,
  savePath: string,
): string {
  return JSON.stringify(
    {
      save_path: savePath,
      rank,
      modules,
      kept: kept.map(({ rank, share, least, leastModule }) => ({
        ...{ rank, share, least },
        least_module: leastModule,
      })),
      measured: measured && {
        data: measured.dataPath,
        base_loss: measured.baseLoss ?? null,
        ranks: measured.ranks.map(({ rank, loss, accuracy, gainKept }) => ({
          ...{ rank, loss, accuracy },
          gain_kept: gainKept,
        })),
      },
    },
    null,
    2,
  );
}

/** Draws the accuracy, or else the loss, by rank. */
export function savePlot(path: string, { ranks }: MeasuredRanks): void {
  const metric = ranks[0].accuracy === undefined ? "loss" : "accuracy";
  const points = ranks.map((one) => ({ rank: one.rank, value: one[metric]! }));
  replaceFile(path, new TextEncoder().encode(rankPlot(points, metric)));
}
