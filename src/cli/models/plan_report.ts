/** The plan of a training step as text for people. */
import type {
  DescribedCall,
  LeftTensor,
  PlanDescription,
  ReadTensor,
} from "../../plan/describe_plan.ts";
import { formatBytes } from "../terminal/format.ts";

/** Lines of the report. @param parts of a batch that are computed beside each other, one of which it is of */
export function formatPlan(
  { shape, arithmetic, ...plan }: PlanDescription,
  parts: number,
): readonly string[] {
  const { batch, length, rows, packedRows } = shape;
  const packed = packedRows === undefined ? "" : `, ${packedRows} packed rows`;
  const of = parts === 1 ? "" : `, one of ${parts} parts of a batch`;
  const width = Math.max(...plan.passes.map(({ name }) => name.length));
  return [
    `Plan of a training step: ${batch}×${length} tokens, ${rows} rows in the loss${packed}${of}`,
    `  arithmetic  ${arithmetic}`,
    `  segments    ${plan.segments}, computed by ${plan.calls.length} calls of ${plan.sessions} sessions`,
    `  memory      ${
      formatBytes(plan.savedBytes)
    } kept for the backward calls; all between calls ` +
    `lies in ${formatBytes(plan.slabBytes)}`,
    "",
    "Passes",
    ...plan.passes.map(({ name, does, isOptional, isLeftOut }) =>
      `  ${name.padEnd(width)}  ${does}${
        isLeftOut ? " (left out)" : isOptional ? "" : " (required)"
      }`
    ),
    "",
    ...(plan.preprocessing.length === 0
      ? []
      : ["Once, before the first step", ...plan.preprocessing.flatMap(callLines), ""]),
    "Calls",
    ...plan.calls.flatMap(callLines),
  ];
}

function callLines({ number, label, session, operators, reads, leaves }: DescribedCall): string[] {
  const counted = Object.entries(operators).map(([name, count]) => `${name} ${count}`);
  const others = reads.filter(({ from }) => from !== "weight" && from !== "trained");
  const all = (what: ReadTensor["from"], words: string) => {
    const found = reads.filter(({ from }) => from === what);
    const bytes = found.reduce((sum, { bytes }) => sum + bytes, 0);
    return found.length === 0
      ? []
      : [`       reads      ${found.length} ${words}, ${formatBytes(bytes)}`];
  };
  return [
    `  ${String(number).padStart(3)}  ${label} (session ${session})`,
    `       operators  ${counted.join(", ")}`,
    ...others.map((tensor) => `       reads      ${tensorText(tensor)} ${origin(tensor)}`),
    ...all("weight", "weights"),
    ...all("trained", "trained tensors"),
    ...leaves.map((tensor) => `       leaves     ${tensorText(tensor)} ${until(tensor)}`),
  ];
}

const tensorText = ({ name, type, bytes }: ReadTensor | LeftTensor) =>
  `${name}: ${type}, ${formatBytes(bytes)},`;

const WORDS = {
  weight: "a weight",
  preprocessed: "made before the first step",
  trained: "trained",
  input: "of the batch",
  sum: "what the sum begins with",
};

function origin({ from }: ReadTensor): string {
  return typeof from === "number" ? `of call ${from}` : WORDS[from];
}

function until({ readBy, isKept }: LeftTensor): string {
  if (readBy.length === 0) return "a result";
  return `${isKept ? "kept " : ""}for call${readBy.length > 1 ? "s" : ""} ${readBy.join(", ")}`;
}
