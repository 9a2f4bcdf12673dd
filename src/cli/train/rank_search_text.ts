/** The result of a search of ranks, as text. */
import { formatMetric, type Metric } from "../../search/metric.ts";
import type { Difference } from "../../search/paired_difference.ts";
import type { RankSearchResult } from "../../tasks/rank_search/result.ts";
import { formatBytes, formatCount, formatSeconds, shellWord } from "../terminal/format.ts";
import { formatTable } from "../terminal/table.ts";

/** The table of all candidates, and what is recommended. */
export function searchLines(result: RankSearchResult): readonly string[] {
  const { metric, candidates, recommended, seeds, totalSteps } = result;
  const table = formatTable(candidates, [
    { heading: "candidate", cell: ({ name }) => name },
    { heading: "parameters", cell: ({ parameters }) => formatCount(parameters) },
    { heading: "size", cell: ({ sizeBytes }) => formatBytes(sizeBytes) },
    { heading: "steps", cell: ({ steps }) => steps },
    { heading: metric, cell: ({ value }) => formatMetric(metric, value) },
    {
      heading: "better by",
      cell: ({ name, difference }) =>
        name === recommended.name
          ? "(recommended)"
          : difference && formatBetter(metric, difference),
    },
    { heading: "time", cell: ({ seconds }) => formatSeconds(seconds) },
  ]);
  const trainings = candidates.length * seeds.length;
  return [
    ...table,
    "",
    `Means of ${seeds.length} seeds; better by: with the 95% interval of paired differences. The search ` +
    `took the steps of ${
      Number(result.wholeTrainings.toPrecision(2))
    } trainings of ${totalSteps} ` +
    `steps, of which training every candidate to its end takes ${trainings}`,
    "",
    `Recommended: ${recommended.reason}`,
    `Train it: graft train --config ${shellWord(recommended.configPath)}`,
    `Trained by the search: ${recommended.adapterPath}`,
    `Picture: ${result.plotPath}`,
  ];
}

function formatBetter(metric: Metric, { mean, halfWidth }: Difference): string {
  const sign = mean < 0 ? "−" : "";
  const size = Math.abs(mean);
  return metric === "accuracy"
    ? `${sign}${(100 * size).toFixed(1)}% ± ${(100 * halfWidth).toFixed(1)}%`
    : `${sign}${size.toFixed(4)} ± ${halfWidth.toFixed(4)}`;
}
