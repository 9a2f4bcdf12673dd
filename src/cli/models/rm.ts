/** `graft rm`: removes a revision of a pulled model, or an adapter from the store. */
import { EXIT, UsageError } from "../../errors.ts";
import { removeNamed } from "../../hub/named.ts";
import { command } from "../command.ts";
import { boolean, text } from "../flags.ts";
import { formatBytes } from "../terminal/format.ts";

export default command({
  name: "rm",
  summary:
    "Remove a revision of a pulled model with the files that only it uses, or a stored adapter",
  operands: "NAME[@REVISION]",
  maxOperands: 1,
  flags: {
    all: boolean("Remove all revisions of a model", { default: false }),
    kind: text("Which one to remove, if both have the name", {
      choices: ["any", "model", "adapter"],
      default: "any",
    }),
    json: boolean("Print JSON", { default: false }),
  },
  examples: [
    { command: "graft rm org/name@main", does: "files that other revisions use stay" },
    { command: "graft rm mill", does: "removes an adapter from the store" },
  ],
  run({ flags, operands, terminal }) {
    const [name] = operands;
    if (name === undefined) throw new UsageError("graft rm needs a name: `graft rm NAME`");
    const { sizeBytes } = removeNamed(name, flags);
    if (flags.json) terminal.print(JSON.stringify({ removed: name, freed_bytes: sizeBytes }));
    else terminal.print(`Removed ${name}: ${formatBytes(sizeBytes)}`);
    return Promise.resolve(EXIT.ok);
  },
});
