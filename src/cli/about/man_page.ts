/** `graft help --man`: the manual page, in the man macros of troff. */
import type { Flag } from "../flags.ts";
import { ENVIRONMENT, exitCodes, flagName, flagNote } from "../help.ts";
import type { PlacedVerb } from "../verb_tree.ts";

/** Text as troff shows it: no escapes, no requests, dashes that can be copied. */
function plain(text: string): string {
  return text.replaceAll("\\", "\\e").replaceAll("-", "\\-").replace(/^[.']/gm, "\\&$&");
}

function paragraph(heading: string, text: string): string[] {
  return [".TP", `.B ${plain(heading)}`, plain(text)];
}

function verbLines({ words, command }: PlacedVerb): string[] {
  const operands = command.operands === undefined ? "" : ` ${command.operands}`;
  const flags = Object.entries(command.flags) as [string, Flag][];
  return [
    `.SS ${plain(`graft ${words.join(" ")}${operands}`)}`,
    plain(`${command.summary}.`),
    ...flags.flatMap(([key, flag]) =>
      paragraph(flagName(key, flag).trim(), flag.description + flagNote(flag))
    ),
    ...command.examples.flatMap(({ command: line, does }) => [
      ".PP",
      plain(`Example: ${does}`),
      ".PP",
      ".EX",
      plain(line),
      ".EE",
    ]),
  ];
}

/** The manual page of all verbs. */
export function manPage(verbs: readonly PlacedVerb[], version: string): string {
  return [
    `.TH GRAFT 1 "" "graft ${plain(version)}" "User Commands"`,
    ".SH NAME",
    "graft \\- fine\\-tune quantised ONNX models on the device, merge and run them",
    ".SH SYNOPSIS",
    ".B graft",
    ".I VERB",
    "[flags]",
    ".SH DESCRIPTION",
    plain(
      "Trains LoRA adapters over frozen int8 and int4 ONNX models through ONNX Runtime, merges " +
        "them into the same weights, and runs the result.",
    ),
    ".SH VERBS",
    ...verbs.flatMap(verbLines),
    ".SH ENVIRONMENT",
    ...ENVIRONMENT.flatMap(([name, meaning]) => paragraph(name, meaning)),
    ".SH EXIT STATUS",
    ...exitCodes().flatMap(([code, meaning]) => paragraph(String(code), meaning)),
    "",
  ].join("\n");
}
