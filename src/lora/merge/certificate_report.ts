/** The certificate of a merge as JSON and as text. */
import { asProperty, type NameParameter } from "../../errors.ts";
import {
  type Candidate,
  type Evaluated,
  gainKept,
  gainKeptInterval,
  isKept,
  largestDifference,
  LEAST_GAIN_KEPT,
  type Measurements,
  sameBest,
} from "./certificate.ts";
import { type Method, METHOD_NAMES as PARTS } from "../peft_type.ts";
import type { MatrixReport } from "./matrix.ts";
import { slowerThanBase } from "./slower_than_base.ts";

/** Increased when readers of the old format cannot read the new one. */
const CERTIFICATE_FORMAT_VERSION = 1;

/** Data that models are compared on. */
export interface MeasuredOn {
  /** Its name on the command line. */
  readonly data: string;
  /** Whether the adapter was trained on it, because there was no other data. */
  readonly trainedOn: boolean;
}

/** A merge with its chosen candidate. */
export interface Decision {
  /** All that was measured. */
  readonly measured: Measurements;
  /** What was written. */
  readonly chosen: Candidate;
  /** Target share of the gain. */
  readonly minGainKept: number;
  /** Whether the chosen candidate keeps less and was written nevertheless. */
  readonly forced: boolean;
  /** Whether the adapters add a head that the base lacks; default false. */
  readonly addsHead?: boolean;
  /** Methods of the adapters that cannot be folded into weights; default none. */
  readonly beside?: readonly Method[];
  /** Digest of the base's graph and weights. */
  readonly baseDigest: string;
  /** What was merged. */
  readonly adapters: readonly { readonly label: string; readonly weight: number }[];
  /** E.g. `onnxruntime 1.30.0 (CPUExecutionProvider)`. */
  readonly runtime?: string;
  /** Data that it was measured on. */
  readonly measuredOn?: MeasuredOn;
}

/** The content of `certificate.json`. */
export function certificateJson(decision: Decision): string {
  const { measured, chosen, adapters } = decision;
  const { base, adapter } = measured;
  const fields = {
    format_version: CERTIFICATE_FORMAT_VERSION,
    base_digest: decision.baseDigest,
    adapters,
    runtime: decision.runtime ?? null,
    method: chosen.method,
    least_gain_kept: decision.minGainKept,
    forced: decision.forced,
    slower_because: slowerThanBase(chosen, decision.addsHead ?? false, decision.beside) ?? null,
    beside_the_weights: decision.beside ?? [],
    held_out: base === undefined || adapter === undefined ? null : {
      ...(decision.measuredOn === undefined ? {} : {
        data: decision.measuredOn.data,
        trained_on: decision.measuredOn.trainedOn,
      }),
      targets: base.count,
      base: figures(base),
      adapter: {
        ...figures(adapter),
        largest_logit_difference_from_base: largestDifference(adapter.logits, base.logits),
      },
    },
    base_size_bytes: measured.baseSizeBytes,
    candidates: measured.candidates.map((candidate) => candidateJson(measured, candidate)),
    matrices: chosen.matrices.map(matrixJson),
  };
  return JSON.stringify(fields, null, 2) + "\n";
}

const figures = ({ loss, accuracy, macroF1, roundingDifference }: Evaluated) => ({
  loss,
  ...(accuracy === undefined ? {} : { accuracy }),
  ...(macroF1 === undefined ? {} : { macro_f1: macroF1 }),
  ...(roundingDifference === undefined ? {} : { rounding_difference: roundingDifference }),
});

function candidateJson(measured: Measurements, candidate: Candidate) {
  const { method, sizeBytes, evaluated, latency, matrices } = candidate;
  const { base, adapter } = measured;
  return {
    method,
    size_bytes: sizeBytes,
    size_ratio: sizeBytes / measured.baseSizeBytes,
    ...(evaluated === undefined || base === undefined || adapter === undefined ? {} : {
      ...figures(evaluated),
      gain_kept: gainKept(base, adapter, evaluated) ?? null,
      gain_kept_interval: gainKeptInterval(base, adapter, evaluated) ?? null,
      same_best_answer_as_adapter: sameBest(evaluated, adapter) ?? null,
      largest_logit_difference_from_adapter: largestDifference(evaluated.logits, adapter.logits),
      largest_logit_difference_from_base: largestDifference(evaluated.logits, base.logits),
    }),
    ...(latency === undefined ? {} : {
      latency: {
        milliseconds: latency.milliseconds,
        base_milliseconds: latency.baseMilliseconds,
        ratio: latency.ratio,
        control_ratio: latency.controlRatio,
        rounds: latency.rounds,
      },
    }),
    requantisation_error: weighted(matrices, "requantisationError"),
    ...(matrices.every((m) => m.outputError !== undefined)
      ? { output_error: weighted(matrices, "outputError") }
      : {}),
    changed_codes: weighted(matrices, "changedCodes"),
  };
}

const matrixJson = (report: MatrixReport) => ({
  modules: report.paths,
  weight: report.weight,
  shape: [report.rows, report.cols],
  bits: report.bits,
  delta_norm: report.deltaNorm,
  relative_delta: report.relativeDelta,
  requantisation_error: report.requantisationError,
  ...(report.outputError === undefined ? {} : { output_error: report.outputError }),
  changed_codes: report.changedCodes,
});

/** Mean over matrices, weighted by size. */
function weighted(
  matrices: readonly MatrixReport[],
  field: "requantisationError" | "outputError" | "changedCodes" | "relativeDelta",
): number {
  let sum = 0;
  let size = 0;
  for (const report of matrices) {
    sum += (report[field] ?? 0) * report.rows * report.cols;
    size += report.rows * report.cols;
  }
  return size === 0 ? 0 : sum / size;
}

const METHOD_NAMES = {
  nearest: "own bits, nearest",
  fitted: "own bits, scales fitted",
  compensated: "own bits, compensated",
  tuned: "own bits, scales tuned",
  scales: "own bits, scales alone",
  "8bit": "adapted matrices 8 bit",
  float: "dequantised",
} as const;

/** The certificate as lines of text: a row per model, a summary of the matrices, the verdict. */
export function formatCertificate(
  decision: Decision,
  name: NameParameter = asProperty,
): readonly string[] {
  const { measured, chosen } = decision;
  const { base, adapter } = measured;
  const classifier = base?.accuracy !== undefined;
  const head = [
    "",
    "loss",
    ...(classifier ? ["accuracy"] : []),
    "gain kept",
    "max Δlogit",
    "size",
    "latency",
  ];
  const rows: string[][] = [];
  const row = (name: string, e: Evaluated | undefined, rest: readonly string[]) => {
    const accuracy = e?.accuracy === undefined ? "–" : percent(e.accuracy);
    rows.push([
      name,
      e === undefined ? "–" : e.loss.toFixed(4),
      ...(classifier ? [accuracy] : []),
      ...rest,
    ]);
  };
  const size = (bytes: number) => `${(bytes / measured.baseSizeBytes).toFixed(3)}×`;
  const difference = (e: Evaluated | undefined) =>
    e === undefined || adapter === undefined
      ? "–"
      : largestDifference(e.logits, adapter.logits).toPrecision(3);
  row("base", base, ["–", difference(base), size(measured.baseSizeBytes), "1.000×"]);
  row("base + adapter", adapter, [adapter === undefined ? "–" : percent(1), "0", "–", "–"]);
  for (const candidate of measured.candidates) {
    const { method, evaluated, sizeBytes, latency } = candidate;
    const share = base && adapter && evaluated && gainKept(base, adapter, evaluated);
    row(`${candidate === chosen ? "→ " : "  "}${METHOD_NAMES[method]}`, evaluated, [
      share === undefined ? "–" : percent(share),
      difference(evaluated),
      size(sizeBytes),
      latency === undefined ? "–" : `${latency.ratio.toFixed(3)}×`,
    ]);
  }
  return [...table([head, ...rows]), "", ...summary(decision, name)];
}

/** Says which parts of adapters stay beside the weights. */
export function besideNote(beside: readonly Method[]): string {
  const what = beside.map((method) => PARTS[method]).join(" and ");
  return `Not folded into the weights: ${what}, which are nodes of the written graph beside them and ` +
    "cost time in every run";
}

/** Line with the interval of the share that a candidate keeps. */
function intervalLine(
  { base, adapter }: Measurements,
  { evaluated }: Candidate,
): readonly string[] {
  const interval = base && adapter && evaluated && gainKeptInterval(base, adapter, evaluated);
  if (interval === undefined) return [];
  const [low, high] = interval.map(percent);
  const same = sameBest(evaluated!, adapter!);
  return [
    `Gain kept, 95% interval over the held-out data: ${low} to ${high}` +
    (same === undefined
      ? ""
      : `; the same best answer as base + adapter for ${percent(same)} of ${
        adapter!.logitRows
      } targets`),
  ];
}

function summary(
  { chosen, minGainKept, forced, measured, addsHead = false, beside }: Decision,
  name: NameParameter,
): readonly string[] {
  const { matrices, latency } = chosen;
  const outputs = matrices.every(({ outputError }) => outputError !== undefined)
    ? ` (${percent(weighted(matrices, "outputError"))} in the layers' outputs)`
    : "";
  const lines = [
    ...matrices.length === 0 ? [] : [
      `${matrices.length} matrices: ‖ΔW‖/‖W‖ ${percent(weighted(matrices, "relativeDelta"))}, ` +
      `rounding error ${percent(weighted(matrices, "requantisationError"))} of ‖ΔW‖${outputs}, ` +
      `${percent(weighted(matrices, "changedCodes"))} of the codes changed`,
    ],
    ...beside === undefined ? [] : [besideNote(beside)],
    ...intervalLine(measured, chosen),
  ];
  if (latency !== undefined) {
    lines.push(
      `Latency over ${latency.rounds} interleaved rounds: ${
        latency.milliseconds.toFixed(2)
      } ms, base ` +
        `${latency.baseMilliseconds.toFixed(2)} ms; base against itself ${
          latency.controlRatio.toFixed(3)
        }×`,
    );
    const why = slowerThanBase(chosen, addsHead, beside);
    if (why !== undefined) lines.push(`Slower by ${percent(latency.ratio - 1)}: ${why}`);
  }
  const rounding = [measured.base, measured.adapter, chosen.evaluated]
    .flatMap((evaluated) => evaluated?.roundingDifference ?? []);
  if (rounding.length > 0) {
    lines.push(
      "Losses are of activations in floats; the runtime may round them to 8 bits: the logits of some " +
        `targets differ by up to ${percent(Math.max(...rounding))}`,
    );
  }
  if (measured.base === undefined) {
    lines.push(
      "No held-out data was given: what the merge keeps of the adapter's gain is not measured",
    );
  } else if (forced) {
    lines.push(`Keeps less than ${percent(LEAST_GAIN_KEPT)}; written because of ${name("force")}`);
  } else if (!isKept(measured, chosen, minGainKept)) {
    const narrow = matrices.some(({ bits }) => bits < 8);
    lines.push(
      `Keeps less than the ${percent(minGainKept)} aimed at (${
        name("minGainKept")
      }): more training data to tune with helps` +
        (narrow
          ? `, or ${name("allowLarger")}; an adapter of scales (${
            name("train.adapterType", "scales")
          }) merges exactly`
          : ""),
    );
  }
  return lines;
}

const percent = (share: number) => `${(share * 100).toFixed(1)}%`;

function table(rows: readonly (readonly string[])[]): readonly string[] {
  const widths = rows[0].map((_, c) => Math.max(...rows.map((row) => row[c].length)));
  return rows.map((row) =>
    row.map((cell, c) => c === 0 ? cell.padEnd(widths[c]) : cell.padStart(widths[c])).join("  ")
      .trimEnd()
  );
}
