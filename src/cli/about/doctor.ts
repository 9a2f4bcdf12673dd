/** `graft doctor`: reports on this machine, its problems and their remedies. */
import { canRun, type Finding, type Level } from "../../doctor/finding.ts";
import { examine } from "../../doctor/examine.ts";
import { EXIT } from "../../errors.ts";
import { VERSION } from "../../version.ts";
import { command } from "../command.ts";
import { boolean } from "../flags.ts";
import { paint, type Terminal } from "../terminal/output.ts";
import { RUNTIME_FLAGS } from "../runtime_flags.ts";

const MARK = { ok: "ok", hint: "hint", warning: "warning", problem: "PROBLEM" } as const;
const STYLE = { ok: "green", hint: "bold", warning: "yellow", problem: "red" } as const;
const WIDTH = Math.max(...Object.values(MARK).map((mark) => mark.length));

export default command({
  name: "doctor",
  summary: "Check device, memory, disk, sensors and ONNX Runtime, and suggest remedies",
  flags: {
    json: boolean("Print JSON", { default: false }),
    ortLib: RUNTIME_FLAGS.ortLib,
  },
  examples: [
    {
      command: "graft doctor",
      does: "reports whether training can run here, and what could be improved",
    },
    {
      command: "graft doctor > /dev/null && graft quickstart",
      does: "continues only if training can run: doctor ends with 0 then, otherwise with 1",
    },
    {
      command: "graft doctor --ort-lib /opt/onnxruntime/libonnxruntime.so",
      does: "shows which execution providers of that build load",
    },
  ],
  async run({ flags, terminal }) {
    const findings = await examine(flags.ortLib ?? Deno.env.get("GRAFT_ORT_LIB"));
    const runs = canRun(findings);
    if (flags.json) terminal.print(JSON.stringify({ version: VERSION, can_run: runs, findings }));
    else show(findings, runs, terminal);
    return runs ? EXIT.ok : EXIT.refused;
  },
});

function show(findings: readonly Finding[], runs: boolean, terminal: Terminal): void {
  for (const { level, what, advice } of findings) {
    terminal.print(`${mark(level, terminal)}  ${what}`);
    if (advice !== undefined) terminal.print(`${" ".repeat(WIDTH)}  → ${advice}`);
  }
  terminal.print("");
  terminal.print(
    runs ? "graft can train, merge and run here" : "graft cannot train here: see each PROBLEM",
  );
}

const mark = (level: Level, terminal: Terminal) =>
  paint(terminal, STYLE[level], MARK[level].padEnd(WIDTH));
