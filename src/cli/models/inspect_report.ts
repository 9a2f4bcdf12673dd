/** An inspection as text for people. */
import type { Inspection, Port, TargetGroup } from "../../model/inspect.ts";
import { formatBytes, formatCount, formatShare } from "../terminal/format.ts";
import { madeOf, megabytes } from "../../model/memory_report.ts";

/** Inputs and outputs beyond this many are summed up: a cache has two for every layer. */
const PORTS_SHOWN = 6;

/** Lines of the report. */
export function formatInspection(path: string, found: Inspection): readonly string[] {
  const opsets = Object.entries(found.opsets).map(([domain, version]) =>
    `${domain || "ai.onnx"} ${version}`
  );
  return [
    path,
    `  size        ${formatBytes(found.sizeBytes)} on disk`,
    `  parameters  ${formatCount(found.parameters)}`,
    `  layers      ${found.layers}`,
    `  opsets      ${opsets.join(", ")}`,
    "",
    "Inputs",
    ...ports(found.inputs),
    "Outputs",
    ...ports(found.outputs),
    "",
    "Operators",
    ...wrapped(Object.entries(found.operators).map(([name, count]) => `${name} ${count}`)),
    "",
    "Possible targets (name, number, [out, in], bits)",
    ...targets(found.targets),
    ...found.ambiguous.map((path) => `  ambiguous: several layers claim ${path}`),
    "",
    ...adapter(found),
    ...training(found),
  ];
}

function ports(all: readonly Port[]): readonly string[] {
  const shown = all.slice(0, PORTS_SHOWN).map(({ name, dtype, shape }) =>
    `  ${name}  ${dtype ?? "?"}[${shape === undefined ? "…" : shape.join(", ")}]`
  );
  return all.length > PORTS_SHOWN ? [...shown, `  and ${all.length - PORTS_SHOWN} more`] : shown;
}

function wrapped(words: readonly string[]): readonly string[] {
  const lines: string[] = [];
  for (const word of words) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + word.length < 88) {
      lines[lines.length - 1] = `${last}, ${word}`;
    } else lines.push(`  ${word}`);
  }
  return lines;
}

function targets(groups: readonly TargetGroup[]): readonly string[] {
  if (groups.length === 0) return ["  none: the graph has no linear layer with constant weights"];
  const rows = groups.map((group) => [
    group.name,
    `${group.count}×`,
    group.shapes.map((shape) => `[${shape.join(", ")}]`).join(" "),
    `${group.bits.join("/")} bits ${group.kinds.join("/")}${group.head ? ", head" : ""}`,
    group.example,
  ]);
  const widths = rows[0].map((_, i) => Math.max(...rows.map((row) => row[i].length)));
  return rows.map((row) =>
    `  ${row.map((cell, i) => cell.padEnd(widths[i])).join("  ").trimEnd()}`
  );
}

function adapter({ lora, parameters }: Inspection): readonly string[] {
  if (lora.modules === 0) return [];
  const share = formatShare(lora.trainableParameters / parameters);
  return [
    `LoRA of rank ${lora.rank} on ${lora.targetModules.join(",")}: ` +
    `${
      formatCount(lora.trainableParameters)
    } trainable parameters (${share}) in ${lora.modules} modules`,
    `  r·(in + out) for each, 2·d·r where it is square, against ` +
    `${formatCount(lora.adaptedParameters)} weights (d²)`,
  ];
}

function training({ training }: Inspection): readonly string[] {
  const { batch, length } = training;
  if ("problem" in training) return [`Training cannot be planned: ${training.problem}`];
  return [
    `Training on ${batch}×${length} tokens takes about ${
      megabytes(training.peakBytes)
    } at its peak:`,
    `  ${madeOf(training)}`,
  ];
}
