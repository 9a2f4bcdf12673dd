/** What the quickstart says: what is coming, what came out, what to try next. */
import { join, relative } from "@std/path";
import { type Decision, formatCertificate } from "../../lora/merge/certificate_report.ts";
import { CERTIFICATE_FILE } from "../../model/merge_adapters.ts";
import { calledAs } from "../../system/own_process.ts";
import { shellWord } from "../terminal/format.ts";
import { asCommandLine } from "../parameter_names.ts";
import type { QuickstartFolder } from "./quickstart_folder.ts";

/** Said first. */
export const WHAT_HAPPENS: readonly string[] = [
  "graft teaches an int8 sentence encoder 12 kinds of household commands, here on the CPU: a minute.",
  "Then it merges the adapter into the int8 graph, measures the gain kept, and asks the result.",
];

/** The certificate, and the figures to remember. */
export function outcomeLines(
  before: number,
  decision: Decision,
  { merged }: QuickstartFolder,
): readonly string[] {
  const { measured, chosen: { evaluated, latency } } = decision;
  const after = [
    ["before", before, "base, untrained: the class whose mean embedding is nearest"],
    ["after", measured.adapter?.accuracy, "base + adapter"],
    ["merged", evaluated?.accuracy, "adapter in the int8 weights"],
  ] as const;
  return [
    "",
    `Certificate of the merge, also in ${join(merged, CERTIFICATE_FILE)}:`,
    ...formatCertificate(decision, asCommandLine),
    'In it, "base" is the untrained encoder under the trained head.',
    "",
    `Accuracy on ${evaluated?.count} held-out sentences, through the inference graph:`,
    ...after.flatMap(([name, accuracy = NaN, what]) =>
      `  ${name.padEnd(6)}  ${(accuracy * 100).toFixed(1).padStart(5)}%  ${what}`
    ),
    `Latency of merged against base: ${latency?.ratio.toFixed(3)}× (the base against itself: ` +
    `${latency?.controlRatio.toFixed(3)}×)`,
    "",
  ];
}

/** Where the commands said last find what they name. */
export interface Places extends QuickstartFolder {
  readonly base: string;
  readonly data: string;
}

/**
 * Said last: commands that work as they are printed.
 *
 * @param program how graft is called
 */
export function nextLines(places: Places, program: string): readonly string[] {
  const [base, data, adapter, merged] = [places.base, places.data, places.adapter, places.merged]
    .map(shellWord);
  return [
    "",
    "Ask the merged model, or base and adapter unmerged:",
    `  ${program} run ${merged} "is there any wood glue left"`,
    `  ${program} run ${base} --adapter-path ${adapter} "is there any wood glue left"`,
    "Train, merge and run step by step; then with your model and data in their places:",
    `  ${program} train --model ${base} --data ${data} --learning-rate 2e-3 --adapter-path my-adapter`,
    `  ${program} merge --model ${base} --adapter-path my-adapter --save-path my-model`,
    `  ${program} run my-model "is there any wood glue left"`,
  ];
}

/** How graft was called, so that it can be called again. */
export function programName(): string {
  if (Deno.build.standalone) return calledAs()[0];
  // npx tells what it starts that it did.
  const deno = Deno.env.has("npm_command") ? `npx -y deno@${Deno.version.deno}` : "deno";
  return `${deno} task graft`;
}

/** A path as short as it can be told from the current folder. */
export function pathFromHere(path: string): string {
  const short = relative(Deno.cwd(), path);
  return short.startsWith("..") ? path : short;
}
