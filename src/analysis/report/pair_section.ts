/** What two adapters have in common. */
import type { Analysis, PairAnalysis } from "../analysis.ts";
import { overlapOf } from "../subspaces.ts";
import { heatMap, heatScale } from "./heat_map.ts";
import { captioned, escaped, figure, folded, percent, svg, table } from "./html.ts";
import { meanSimilarity } from "./mean_similarity.ts";

/** What an update reads and what it writes. */
export const SIDES = ["inputs", "outputs"] as const;

/** The mean similarity of all matrices that both adapters change, by side. */
export function meanMaps({ matrices }: Analysis) {
  return SIDES.flatMap((side) => {
    const mean = meanSimilarity(matrices.flatMap(({ pair }) => pair === null ? [] : [pair[side]]));
    return mean === undefined ? [] : [{ side, title: `Mean similarity of the ${side}`, ...mean }];
  });
}

/** The section of two adapters; nothing for a single one. */
export function pairSection(analysis: Analysis): string {
  const { adapters, matrices } = analysis;
  const both = matrices.flatMap((matrix) =>
    matrix.pair === null ? [] : [{ path: matrix.path, pair: matrix.pair }]
  );
  if (both.length === 0) return "";
  const maps = meanMaps(analysis).map(({ side, title, values, count }) =>
    captioned(
      heatMap(values, { title, size: 448 }),
      `φ(i, j) of the ${side}, mean of ${count} matrices: i directions of ${
        adapters[0].path
      }, j of ${adapters[1].path}`,
    )
  );
  const each = both.map(({ path, pair }) =>
    `<h3>${escaped(path)}</h3><div class="grid">` +
    SIDES.map((side) =>
      pair[side].length === 0 ? "" : captioned(
        heatMap(pair[side], { title: `${path}: similarity of the ${side}`, size: 192 }),
        side,
      )
    ).join("") + "</div>"
  );
  return `<h2>Two adapters compared</h2>
<p>φ(i, j) is the similarity of the subspaces of the first i singular vectors of one adapter and the
first j of the other: 1 if the smaller lies in the larger, 0 if they are orthogonal. Inputs are the
right singular vectors of A, outputs the left ones of B. Random subspaces have about max(i, j)
divided by the number of dimensions.</p>
${svg(heatScale())}<div class="grid">${maps.join("")}</div>
${folded("Updates of both adapters by matrix", pairTable(both))}
${folded("Heat maps by matrix", each.join("\n"))}`;
}

function pairTable(
  both: readonly { readonly path: string; readonly pair: PairAnalysis }[],
): string {
  return table(
    "Updates of both adapters",
    [
      "matrix",
      "cosine",
      "sign conflicts",
      "φ inputs",
      "φ outputs",
      "‖ΔW₁+ΔW₂‖",
      "if orthogonal",
      "if aligned",
    ],
    both.map(({ path, pair }) => [
      path,
      figure(pair.cosine),
      percent(pair.signConflicts),
      figure(overlapOf(pair.inputs)),
      figure(overlapOf(pair.outputs)),
      figure(pair.sumNorm),
      figure(pair.orthogonalNorm),
      figure(pair.alignedNorm),
    ]),
  );
}
