/** An analysis as tables for a terminal. */
import type { Analysis, MatrixAnalysis } from "../../analysis/analysis.ts";
import { overlapOf } from "../../analysis/subspaces.ts";
import { formatShare } from "../../format.ts";
import { type Column, formatTable } from "../terminal/table.ts";

/** Lines of an analysis: matrices of each adapter, layers, and the two adapters compared. */
export function formatAnalysis(analysis: Analysis): readonly string[] {
  const { adapters, matrices, layers } = analysis;
  const lines = adapters.flatMap(({ path, steps }, i) => [
    `${path}:`,
    ...formatTable(matrices.filter(({ updates }) => updates[i] !== null), columnsOf(i)),
    "",
    ...steps.length === 0
      ? []
      : [`Drift over steps: ${steps.map((at) => `${at.step}: ${share(at.drift)}`).join(", ")}`, ""],
  ]);
  const drift = formatTable(layers, [
    { heading: "layer", cell: ({ layer }) => layer ?? undefined },
    ...adapters.map(({ path }, i) => ({
      heading: `‖ΔW‖/‖W‖ of ${path}`,
      cell: (row: Analysis["layers"][number]) => share(row.drift[i]),
    })),
  ]);
  return [...lines, ...drift, ...pairLines(matrices)];
}

const share = (value: number) => formatShare(value);

function columnsOf(adapter: number): readonly Column<MatrixAnalysis>[] {
  const of = (matrix: MatrixAnalysis) => matrix.updates[adapter]!;
  return [
    { heading: "matrix", cell: ({ path }) => path },
    { heading: "size", cell: ({ rows, cols }) => `${rows}×${cols}` },
    { heading: "rank W", cell: ({ spectrum }) => spectrum?.rank },
    { heading: "ΔW", cell: (matrix) => of(matrix).spectrum.rank },
    { heading: "W'", cell: (matrix) => of(matrix).merged?.rank },
    { heading: "‖W‖", cell: ({ norm }) => norm },
    { heading: "‖ΔW‖", cell: (matrix) => of(matrix).norm },
    { heading: "drift", cell: (matrix) => share(of(matrix).drift) },
    { heading: "‖UᵀWVᵀ‖ of ΔW", cell: (matrix) => of(matrix).directions?.ofUpdate },
    { heading: "of W", cell: (matrix) => of(matrix).directions?.ofWeight ?? undefined },
    { heading: "random", cell: (matrix) => of(matrix).directions?.ofRandom },
    {
      heading: "amplified",
      cell: (matrix) => of(matrix).directions?.amplification ?? undefined,
    },
  ];
}

function pairLines(matrices: readonly MatrixAnalysis[]): readonly string[] {
  const both = matrices.flatMap(({ path, pair }) => pair === null ? [] : [{ path, pair }]);
  if (both.length === 0) return [];
  const table = formatTable(both, [
    { heading: "matrix", cell: ({ path }) => path },
    { heading: "cosine", cell: ({ pair }) => pair.cosine ?? undefined },
    {
      heading: "sign conflicts",
      cell: ({ pair }) => pair.signConflicts === null ? undefined : share(pair.signConflicts),
    },
    { heading: "φ inputs", cell: ({ pair }) => overlapOf(pair.inputs) },
    { heading: "φ outputs", cell: ({ pair }) => overlapOf(pair.outputs) },
    { heading: "‖ΔW₁+ΔW₂‖", cell: ({ pair }) => pair.sumNorm },
    { heading: "if orthogonal", cell: ({ pair }) => pair.orthogonalNorm },
    { heading: "if aligned", cell: ({ pair }) => pair.alignedNorm },
  ]);
  return ["", "Both adapters:", ...table];
}
