import { assert, assertEquals } from "@std/assert";
import { command } from "../../src/cli/command.ts";
import { completionScript } from "../../src/cli/about/completion_scripts.ts";
import { boolean, text } from "../../src/cli/flags.ts";
import { manPage } from "../../src/cli/about/man_page.ts";
import { loadVerbs } from "../../src/cli/verb_tree.ts";

const FLAGS = {
  task: text("What's learned: [auto]", {
    choices: ["auto", "causal"],
    default: "auto",
    short: "t",
  }),
  data: text("Where it is", { placeholder: "DIR" }),
  shuffle: boolean("Mix rows", { default: true }),
};

function verb(name: string, verbs = {}) {
  const run = () => Promise.resolve(0);
  const examples = [{ command: `graft ${name} --task auto`, does: "an example" }];
  return {
    default: command({ name, summary: `Do ${name}: it's`, flags: FLAGS, verbs, examples, run }),
  };
}

const VERBS = await loadVerbs({
  teach: () => Promise.resolve(verb("teach")),
  time: () => Promise.resolve(verb("time", { teach: () => Promise.resolve(verb("time teach")) })),
});

Deno.test("loadVerbs() lists verbs of a second word behind their first", () => {
  assertEquals(VERBS.map(({ words }) => words.join(" ")), ["teach", "time", "time teach"]);
});

for (const shell of ["bash", "zsh", "fish"] as const) {
  Deno.test(`completionScript() of ${shell} has every verb, flag and choice`, () => {
    const script = completionScript(shell, VERBS);
    for (const word of ["teach", "time", "task", "no-shuffle", "auto causal"]) {
      assert(script.includes(word), `${word}: ${script}`);
    }
  });
}

Deno.test("manPage() has verbs, flags, examples and exit codes, and starts no request by accident", () => {
  const page = manPage(VERBS, "1.2.3");
  for (
    const part of [".SS graft time teach", "\\-\\-task", "graft teach \\-\\-task auto", ".B 74"]
  ) {
    assert(page.includes(part), part);
  }
  for (const line of page.split("\n")) assert(/^(\.[A-Z]{1,2}( |$)|[^.']|$)/.test(line), line);
});
