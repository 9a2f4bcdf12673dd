/** Help texts, generated from the verbs' descriptions. */
import { EXIT } from "../errors.ts";
import type { Command } from "./command.ts";
import { kebab } from "../config/parameter.ts";
import type { Flag } from "./flags.ts";

const EXIT_MEANING: Readonly<Record<keyof typeof EXIT, string>> = {
  ok: "done",
  refused:
    "the work was done and the answer is no: a merge beyond tolerance, a loss that diverged, a run that does not fit in memory",
  usage: "unknown flag, missing argument or value out of range",
  badInput: "a file is missing, unreadable or not what it should be",
  runtime: "ONNX Runtime is missing, too old or failed",
  tryAgain:
    "try again: the hub cannot be reached or does not answer as one, the service is busy or ending",
  access: "the hub refuses access: a token or an agreement is missing",
  internal: "a bug in graft",
  io: "disk full, permission denied or I/O error",
  interrupted:
    "stopped by Ctrl-C or SIGTERM: training has saved, the next pull continues, others have written nothing",
  outputClosed: "the program that read the output of graft run has ended",
};

/** Every exit code with its meaning, in order. */
export function exitCodes(): (readonly [code: number, meaning: string])[] {
  return (Object.keys(EXIT) as (keyof typeof EXIT)[])
    .sort((a, b) => EXIT[a] - EXIT[b])
    .map((name) => [EXIT[name], EXIT_MEANING[name]]);
}

/** The meaning of every exit code. */
export function exitCodeLines(columns = HELP_COLUMNS): string[] {
  return exitCodes().flatMap(([code, meaning]) =>
    hanging(`  ${String(code).padStart(3)}  `, meaning, columns)
  );
}

/** Environment variables that graft reads, with their meanings. */
export const ENVIRONMENT: readonly (readonly [name: string, meaning: string])[] = [
  ["GRAFT_ORT_LIB", "another libonnxruntime than the one that graft includes"],
  ["GRAFT_MPI_LIB", "the MPI library of several boards' training, if the system does not find it"],
  [
    "PMI_SIZE",
    "ranks of the job, set by MPICH's launcher (OMPI_COMM_WORLD_SIZE by Open MPI's, PMIX_RANK by its " +
    "prterun): graft train, eval, merge and rank-search join the job",
  ],
  [
    "PMI_RANK",
    "this process's number in the job, from the same launchers (OMPI_COMM_WORLD_RANK, PMIX_RANK): " +
    "0 reports",
  ],
  [
    "GRAFT_ORT_LOG",
    "how much ONNX Runtime writes to standard error: verbose, info, warning, error or fatal",
  ],
  ["GRAFT_HOME", "folder of the adapter store; else graft in XDG_DATA_HOME or ~/.local/share"],
  [
    "GRAFT_CACHE_DIR",
    "folder of measured kernels, TensorRT engines and a binary's unpacked library; else graft in " +
    "XDG_CACHE_HOME or ~/.cache",
  ],
  [
    "GRAFT_TEXT_DEADLINE_MS",
    "milliseconds that a small task of the tokenizer or chat template may take, for very slow " +
    "machines; 1500 if absent",
  ],
  [
    "GRAFT_EMULATOR",
    "command of a program that emulates graft's processor, such as qemu-aarch64-static -L " +
    "/usr/aarch64-linux-gnu: graft starts its own processes with it where the kernel cannot start " +
    "graft by itself",
  ],
  [
    "GRAFT_PASSES",
    "planning passes to leave out, to find the one behind a fault: -join-gates,-pack-tokens; " +
    "`graft inspect --plan` lists them",
  ],
  ["GRAFT_DEBUG", "1 adds the stack to an error"],
  ["NO_COLOR", "turns colours off"],
  ["TMPDIR", "folder for temporary files; /tmp if absent"],
  [
    "HF_HOME, HF_HUB_CACHE",
    "cache of pulled models, shared with other tools; ~/.cache/huggingface/hub if absent",
  ],
  ["HF_ENDPOINT", "another hub than https://huggingface.co"],
  [
    "HF_TOKEN, HF_TOKEN_PATH",
    "the hub's access token, or the file that has it; else the file that hf auth login writes",
  ],
  ["HF_HUB_OFFLINE", "1 uses no network"],
  [
    "HF_HUB_DOWNLOAD_TIMEOUT",
    "seconds of silence after which a connection is tried again; 30 if absent",
  ],
  [
    "NATS_URL, NATS_CREDS, NATS_NKEY, NATS_USER, NATS_PASSWORD, NATS_TOKEN, NATS_CERT, NATS_KEY, NATS_CA",
    "server and credentials of graft fleet, as the nats command line has them",
  ],
  [
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "collector that graft serve and the service send traces of requests to; none if absent; " +
    "docs/serve.md has the other variables of OpenTelemetry",
  ],
];

/** Widest lines of a help text; narrower ones where the terminal is. */
export const HELP_COLUMNS = 100;
/** Characters of a line that a meaning has at least, however narrow the terminal is. */
const LEAST_MEANING = 40;

/** A term and what it means, in lines of at most `columns` characters; what follows stays beside it. */
function hanging(term: string, meaning: string, columns: number): string[] {
  const [first, ...rest] = wrap(meaning, Math.max(LEAST_MEANING, columns - term.length));
  return [term + first, ...rest.map((line) => " ".repeat(term.length) + line)];
}

/** `graft --help`. */
export function generalHelp(
  commands: readonly Command[],
  version: string,
  columns = HELP_COLUMNS,
): string {
  const width = Math.max(...commands.map((c) => c.name.length));
  const paragraphs = [
    "`graft doctor` reports what this machine can do, `graft quickstart` goes through all steps. The " +
    'embedded model is named "default", the quickstart\'s data "quickstart".',
    "`graft help VERB` explains a verb, `graft help --man` prints the manual page, " +
    "`graft --version` prints the versions of graft and its parts. GRAFT_ORT_LIB names another " +
    "libonnxruntime to use, NO_COLOR turns colours off, GRAFT_DEBUG=1 adds the stack to an error.",
  ];
  return [
    ...wrap(
      `graft ${version}: fine-tunes quantised ONNX models on the device, merges and runs them`,
      columns,
    ),
    "",
    "Usage: graft VERB [flags]",
    "",
    ...commands.flatMap((c) => hanging(`  ${c.name.padEnd(width)}  `, c.summary, columns)),
    "",
    ...paragraphs.flatMap((paragraph) => [...wrap(paragraph, columns), ""]),
    "Exit codes:",
    ...exitCodeLines(columns),
  ].join("\n");
}

/** A flag as help lists it: `-r, --rank N`. */
export function flagName(key: string, flag: Flag): string {
  const short = flag.short === undefined ? "    " : `-${flag.short}, `;
  const value = flag.kind === "boolean" ? "" : ` ${placeholder(flag)}`;
  // Both forms, since the description tells what the switch does when it is on.
  const no = flag.kind === "boolean" && flag.default === true ? "[no-]" : "";
  return `${short}--${no}${kebab(key)}${value}`;
}

function placeholder(flag: Flag): string {
  if (flag.placeholder !== undefined) return flag.placeholder;
  switch (flag.kind) {
    case "integer":
      return "N";
    case "list":
      return "A,B";
    case "map":
      return "NAME=N,…";
    default:
      return flag.choices === undefined ? (flag.kind === "number" ? "X" : "TEXT") : "NAME";
  }
}

/** Choices and default of a flag, in brackets. */
export function flagNote(flag: Flag): string {
  const notes = flag.choices === undefined ? [] : [flag.choices.join(", ")];
  if (flag.required) notes.push("required");
  else if (flag.kind === "boolean") notes.push(...flag.default === true ? ["default on"] : []);
  else if (flag.kind !== "map" && flag.default !== undefined && String(flag.default) !== "") {
    notes.push(`default ${flag.default}`);
  }
  return notes.length === 0 ? "" : ` [${notes.join("; ")}]`;
}

/** Breaks text into lines of at most `width` characters, at spaces. */
function wrap(value: string, width: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of value.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else {
      line = line === "" ? word : `${line} ${word}`;
    }
  }
  return [...lines, line];
}

/** `graft help VERB`. */
export function commandHelp(command: Command, columns = HELP_COLUMNS): string {
  const entries = Object.entries(command.flags);
  const groups = Map.groupBy(entries, ([, flag]) => flag.group ?? "Flags");
  const lines = [
    ...wrap(`graft ${command.name}: ${command.summary}`, columns),
    "",
    `Usage: graft ${command.name}${command.operands ? ` ${command.operands}` : ""} [flags]`,
  ];
  const indent = 34;
  for (const [group, members] of groups) {
    lines.push("", `${group}:`);
    for (const [key, flag] of members) {
      const name = `  ${flagName(key, flag)}`;
      const isLong = name.length + 2 > indent;
      if (isLong) lines.push(name);
      const term = (isLong ? "" : name).padEnd(indent);
      lines.push(...hanging(term, flag.description + flagNote(flag), columns));
    }
  }
  if (command.examples.length > 0) {
    lines.push("", "Examples:");
    for (const { command: line, does } of command.examples) {
      lines.push(...wrap(does, columns - 4).map((part) => `  # ${part}`), `  ${line}`);
    }
  }
  return lines.join("\n");
}
