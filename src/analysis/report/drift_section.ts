/** The adapters, their drift and what they amplify. */
import type { Analysis } from "../analysis.ts";
import { driftOf } from "../layer_drift.ts";
import { captioned, figure, folded, percent, table } from "./html.ts";
import { type ChartOptions, legend, type Line, lineChart } from "./line_chart.ts";

/** The adapters and their drift as a whole. */
export function adaptersSection({ adapters, matrices }: Analysis): string {
  return table(
    "Adapters",
    ["adapter", "rank", "matrices", "‖ΔW‖/‖W‖"],
    adapters.map(({ path, rank }, i) => [
      path,
      String(rank),
      String(matrices.filter(({ updates }) => updates[i] !== null).length),
      percent(driftOf(matrices, i)),
    ]),
  );
}

/** A chart of the drift. */
export interface DriftChart {
  readonly over: "layer" | "steps";
  readonly lines: readonly Line[];
  readonly options: ChartOptions;
  /** What the drift is of. */
  readonly of: string;
}

/** Drift by layer, and over the steps of trainings that left checkpoints. */
export function driftCharts({ adapters, layers }: Analysis): readonly DriftChart[] {
  const byLayer = adapters.map(({ path }, i): Line => ({
    name: path,
    style: `a${i}`,
    points: layers.flatMap(({ layer, drift }) =>
      layer === null ? [] : [[layer, drift[i]] as const]
    ),
  }));
  const overSteps = adapters.flatMap(({ path, steps }, i): Line[] =>
    steps.length === 0
      ? []
      : [{ name: path, style: `a${i}`, points: steps.map(({ step, drift }) => [step, drift]) }]
  );
  const charts: readonly DriftChart[] = [
    {
      over: "layer",
      lines: byLayer,
      options: { title: "Drift by layer", xLabel: "layer", format: percent },
      of: "of the analysed matrices of each layer",
    },
    {
      over: "steps",
      lines: overSteps,
      options: { title: "Drift over steps", xLabel: "step", format: percent },
      of: "of all analysed matrices at each checkpoint",
    },
  ];
  return charts.filter(({ lines }) => lines.some(({ points }) => points.length > 0));
}

/** Drift by layer and over the training's steps. */
export function driftSection(analysis: Analysis): string {
  const { adapters, layers, matrices } = analysis;
  const charts = driftCharts(analysis).map(({ lines, options, of }) =>
    captioned(lineChart(lines, { ...options, width: 420 }), `‖ΔW‖/‖W‖ ${of}`)
  );
  const overSteps = adapters.flatMap(({ path, steps }) =>
    steps.length === 0 ? [] : [folded(
      `Layers of ${path} over the steps`,
      table(
        `‖ΔW‖/‖W‖ by layer and step: ${path}`,
        ["layer", ...steps.map(({ step }) => `step ${step}`)],
        layers.map(({ layer }, i) => [
          layer === null ? "outside" : String(layer),
          ...steps.map(({ layers }) => percent(layers[i])),
        ]),
      ),
    )]
  );
  const tables = adapters.map(({ path }, i) =>
    folded(
      `Matrices of ${path}`,
      table(
        `Directions of ΔW in W: ${path}`,
        [
          "matrix",
          "rank ΔW",
          "‖W‖",
          "‖ΔW‖",
          "‖ΔW‖/‖W‖",
          "‖UᵀWVᵀ‖, of ΔW",
          "of W",
          "random",
          "amplification",
        ],
        matrices.flatMap(({ path, norm, updates }) => {
          const update = updates[i];
          if (update === null) return [];
          const { directions } = update;
          return [[
            path,
            String(update.spectrum.rank),
            figure(norm),
            figure(update.norm),
            percent(update.drift),
            figure(directions?.ofUpdate),
            figure(directions?.ofWeight),
            figure(directions?.ofRandom),
            figure(directions?.amplification),
          ]];
        }),
      ),
    )
  );
  return `<h2>Drift and amplification</h2>
<p>Drift is the size of the update relative to the weight. ‖UᵀWVᵀ‖ is what W itself has in the top
directions of ΔW, of W, or in random ones; the amplification is ‖ΔW‖/‖UᵀWVᵀ‖ for those of ΔW.</p>
${legend(adapters.map(({ path }, i) => ({ name: path, style: `a${i}` })))}<div class="grid">${
    charts.join("")
  }</div>${[...overSteps, ...tables].join("")}`;
}
