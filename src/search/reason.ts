/** Why a candidate is recommended, in a sentence. */
import type { Measured } from "./candidate.ts";
import { formatDifference, type Metric } from "./metric.ts";
import { pairedDifference } from "./paired_difference.ts";
import { ranked } from "./pick.ts";

/**
 * The reason for a choice: what the best other finalist does better or worse, and what it costs.
 *
 * @param finalists all that were trained as long as the picked one, which is among them
 */
export function reasonOf(
  picked: Measured,
  finalists: readonly Measured[],
  metric: Metric,
): string {
  const rival = ranked(finalists).find(({ candidate }) => candidate !== picked.candidate);
  const { name, parameters } = picked.candidate;
  if (rival === undefined) return `${name}: nothing else was trained as long`;
  const difference = pairedDifference(rival.scores, picked.scores);
  const by = `${formatDifference(metric, difference)} over ${picked.scores.length} seeds`;
  const chance = Math.abs(difference.mean) <= difference.halfWidth ? ", which may be chance" : "";
  const cost = costOf(rival.candidate.parameters / parameters);
  return difference.mean > 0
    ? `${name}: ${rival.candidate.name} is better by ${by}${chance}, ${cost}`
    : `${name}: ${rival.candidate.name} is worse by ${by}${chance}, ${cost}`;
}

/** Ratios that are no difference. */
const ALIKE = 0.05;

function costOf(ratio: number): string {
  if (Math.abs(ratio - 1) < ALIKE) return "for as many parameters";
  if (Math.abs(ratio - 2) < ALIKE) return "for twice the parameters";
  return ratio > 1
    ? `for ${Number(ratio.toPrecision(2))} times the parameters`
    : `for ${Math.round(100 * ratio)}% of the parameters`;
}
