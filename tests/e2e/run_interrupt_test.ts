import { assert, assertEquals } from "@std/assert";
import { EXIT } from "../../src/errors.ts";
import { modelDir } from "../helpers/fixture_models.ts";
import { graftAtTerminal } from "../helpers/graft.ts";
import { testWithTool } from "../helpers/requirements.ts";

const LLAMA = modelDir("tiny-llama-genai-fp32");
const CTRL_C = "\x03";
/** Stops the terminal's output until the next Ctrl-C. */
const CTRL_S = "\x13";

testWithTool("script", "graft run: Ctrl-C ends an answer, and the chat goes on", async () => {
  const { code, shown } = await graftAtTerminal(
    async ({ until, type }) => {
      await until(/>>> $/);
      // The answer cannot end before Ctrl-C: its first words wait for the terminal.
      await type(`hello\n${CTRL_S}`);
      await new Promise((resolve) => setTimeout(resolve, 2000));
      await type(CTRL_C);
      await until(/>>> $/);
      await type("/clear\n");
      await until(/>>> $/);
      await type("hello\n");
      await until(/>>> $/);
      await type("/bye\n");
    },
    "run",
    LLAMA,
  );
  assertEquals(code, EXIT.ok, shown);
  const [, cut, , whole] = shown.split(">>> ");
  // This one goes on to the end of the context.
  assert(whole.includes("The answer was cut at"), shown);
  assert(!cut.includes("The answer was cut at"), shown);
  assert(cut.length < whole.length / 2, shown);
});

testWithTool("script", "graft run: Ctrl-C at the prompt ends the chat", async () => {
  const { code, shown } = await graftAtTerminal(
    async ({ until, type }) => {
      await until(/>>> $/);
      await type(CTRL_C);
    },
    "run",
    LLAMA,
  );
  assertEquals(code, EXIT.interrupted, shown);
});
