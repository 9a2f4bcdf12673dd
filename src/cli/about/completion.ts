/** `graft completion`: prints a script with which a shell completes graft's verbs and flags. */
import { EXIT, UsageError } from "../../errors.ts";
import { command } from "../command.ts";
import { completionScript, type Shell, SHELLS } from "./completion_scripts.ts";
import { loadVerbs } from "../verb_tree.ts";

export default command({
  name: "completion",
  summary: "Print a script by which bash, zsh or fish complete verbs and flags",
  operands: "SHELL",
  choices: SHELLS,
  maxOperands: 1,
  flags: {},
  examples: [
    {
      command: "graft completion bash > ~/.local/share/bash-completion/completions/graft",
      does: "for bash, from the next shell on",
    },
    { command: 'graft completion zsh > "${fpath[1]}/_graft"', does: "for zsh" },
    {
      command: "graft completion fish > ~/.config/fish/completions/graft.fish",
      does: "for fish",
    },
  ],
  async run({ operands, terminal }) {
    const [shell] = operands;
    if (!SHELLS.includes(shell as Shell)) {
      throw new UsageError(
        `graft completion needs a shell, one of ${SHELLS.join(", ")}` +
          (shell === undefined ? "" : `: current value is "${shell}"`),
      );
    }
    terminal.write(completionScript(shell as Shell, await loadVerbs()));
    return EXIT.ok;
  },
});
