/** `graft service status`: shows the model in use, the last events, and systemd's state. */
import { EXIT, GraftError } from "../../errors.ts";
import { runSystemctl } from "../../service/systemctl.ts";
import { standingOf } from "../../service/records.ts";
import { readInUse, readJournal } from "../../service/state_files.ts";
import { UNITS } from "../../service/units.ts";
import { command } from "../command.ts";
import { boolean, integer } from "../flags.ts";
import { STATE_FLAG, stateFolder } from "./service_flags.ts";
import { formatRecord } from "./service_records.ts";
import { printTable } from "../terminal/table.ts";

/** systemd's state of a unit. */
type UnitState = Readonly<Record<string, string>>;

/** Units that every service has; the others are shown where they are installed. */
const EVERYWHERE: ReadonlySet<string> = new Set([UNITS.service, UNITS.train, UNITS.timer]);

const PROPERTIES = [
  "LoadState",
  "ActiveState",
  "SubState",
  "StatusText",
  "Result",
  "NRestarts",
  "MemoryCurrent",
  "NextElapseUSecRealtime",
];

export default command({
  name: "service status",
  summary: "Show the units, the model in use and the last events",
  flags: {
    ...STATE_FLAG,
    last: integer("Records of the journal to show", { default: 10, min: 0 }),
    json: boolean("Print JSON", { default: false }),
  },
  examples: [
    {
      command: "sudo graft service status",
      does: "the model in use, the last events, the next round",
    },
    { command: "sudo graft service status --json", does: "the same for programs" },
  ],
  needs: ["run"],
  async run({ flags, terminal }) {
    const folder = stateFolder(flags);
    const { records, damage, keptFiles } = readJournal(folder);
    const inUse = readInUse(folder);
    const { promoted, last } = standingOf(records);
    const units = await unitStates();
    const shown = flags.last === 0 ? [] : records.slice(-flags.last);
    if (flags.json) {
      terminal.print(JSON.stringify({
        units,
        state: folder,
        in_use: inUse.name ?? "base",
        promoted,
        cycle: last ?? null,
        journal: shown,
        journal_damaged_line: damage?.line ?? null,
        journal_kept: keptFiles,
      }));
      return EXIT.ok;
    }
    const rows = Object.entries(units ?? {}).filter(([name, unit]) =>
      EVERYWHERE.has(name) || isInstalled(unit)
    );
    if (units === undefined) terminal.print("systemd does not answer");
    else {
      printTable(rows, [
        { heading: "unit", cell: ([name]) => name },
        { heading: "state", cell: ([, unit]) => stateOf(unit) },
        { heading: "restarts", cell: ([, unit]) => unit.NRestarts || undefined },
        { heading: "", cell: ([, unit]) => unit.StatusText || unit.NextElapseUSecRealtime || "" },
      ], terminal);
    }
    terminal.print(`in use    ${inUse.name === null ? "the base" : `model ${inUse.name}`}`);
    if (last !== undefined) terminal.print(`round     ${last.name}, ${last.done}`);
    if (damage !== undefined) {
      terminal.print(
        `journal   damaged from line ${damage.line} on: the model in use answers, and the next start ` +
          "of the service or of a round keeps that part in a file of its own",
      );
    }
    for (const name of keptFiles) {
      terminal.print(
        `journal   was damaged: ${name} keeps that part; remove it once it is looked at`,
      );
    }
    for (const record of shown) terminal.print(formatRecord(record));
    return EXIT.ok;
  },
});

const isInstalled = (unit: UnitState) => unit.LoadState !== "not-found";

function stateOf(unit: UnitState): string {
  if (!isInstalled(unit)) return "not installed";
  const result = unit.Result === "success" || !unit.Result ? "" : `, ${unit.Result}`;
  return `${unit.ActiveState} (${unit.SubState})${result}`;
}

async function unitStates(): Promise<Readonly<Record<string, UnitState>> | undefined> {
  const units: Record<string, UnitState> = {};
  for (const name of Object.values(UNITS)) {
    try {
      const { code, stdout } = await runSystemctl(["show", name, `-p${PROPERTIES.join(",")}`]);
      if (code !== 0) return undefined;
      units[name] = Object.fromEntries(
        stdout.trim().split("\n").map((line) => [
          line.slice(0, line.indexOf("=")),
          line.slice(line.indexOf("=") + 1),
        ]),
      );
    } catch (error) {
      if (error instanceof GraftError) return undefined;
      throw error;
    }
  }
  return units;
}
