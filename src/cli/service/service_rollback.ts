/** `graft service rollback`: returns to the model before. */
import { EXIT, UsageError } from "../../errors.ts";
import { ServiceState } from "../../service/state.ts";
import { readInUse, readJournal } from "../../service/state_files.ts";
import { command } from "../command.ts";
import { text } from "../flags.ts";
import { STATE_FLAG, stateFolder } from "./service_flags.ts";

export default command({
  name: "service rollback",
  summary: "Put the model that was in use before back into use",
  flags: {
    ...STATE_FLAG,
    to: text("Model to go back to: its number, or base; the one before if absent", {
      placeholder: "MODEL",
    }),
  },
  examples: [
    { command: "sudo graft service rollback", does: "the running service follows within seconds" },
    {
      command: "sudo graft service rollback --to base",
      does: "forgets nothing, but uses the base again",
    },
  ],
  run({ flags, terminal }) {
    const { to } = flags;
    if (to !== undefined && to !== "base" && !/^\d+$/.test(to)) {
      throw new UsageError(`--to must be a model's number or base: current value is "${to}"`);
    }
    const folder = stateFolder(flags);
    const { records, damage } = readJournal(folder);
    if (records.length === 0 && damage === undefined && readInUse(folder).name === null) {
      throw new UsageError(`Cannot roll back: no round has promoted anything in ${folder}`);
    }
    using state = ServiceState.open(folder);
    const target = to === undefined ? undefined : to === "base" ? null : to.padStart(4, "0");
    const now = state.rollBack(target);
    terminal.print(`In use now: ${now === null ? "the base" : `model ${now}`}`);
    return Promise.resolve(EXIT.ok);
  },
});
