/** `graft run`: what a model says to a text: an answer, a class or a vector. */
import { UsageError } from "../../errors.ts";
import { type InferenceEvent, InferenceModel } from "../../tasks/inference_model.ts";
import { command } from "../command.ts";
import { askLines, inputTexts } from "./input_text.ts";
import type { Terminal } from "../terminal/output.ts";
import { runEncoder } from "./run_encoder.ts";
import { RUN_FLAGS, type RunFlags } from "./run_flags.ts";
import { answerSettings, answerTexts, chat } from "./run_text.ts";
import { noteOfRuntime } from "../runtime_flags.ts";

export default command({
  name: "run",
  summary: "Generate text, classify or embed, with a base, an adapter on it, or a merged model",
  operands: "MODEL [TEXT…]",
  maxOperands: Infinity,
  flags: RUN_FLAGS,
  examples: [
    {
      command: 'graft run ./smollm2-int4 "Why is the sky blue?"',
      does: "answers as the model's chat template asks for it",
    },
    {
      command: 'graft run default "a sentence to embed"',
      does: "prints the vector that the model which graft carries gives",
    },
    { command: "graft run ./smollm2-int4", does: "chats, on a terminal" },
    {
      command: "graft run ./minilm-int8 --adapter-path adapters turn on the light in the kitchen",
      does: "prints the class and its probability",
    },
    {
      command: "graft run ./minilm-int8 --embedding < sentences.txt",
      does: "prints a vector for each line",
    },
  ],
  needs: ["run"],
  async run({ flags, operands, terminal }) {
    const { path, given } = operandsOf(flags, operands);
    const { adapterPath, ctxSize, ortLib, ep, epOption, threads } = flags;
    using model = await InferenceModel.open(
      { model: path, adapterPath, ctxSize, ortLib, ep, epOption, threads },
      { onEvent: (event) => note(event, terminal) },
    );
    if (flags.embedding || model.kind !== "causal") {
      const texts = inputTexts(given, Deno.stdin, false, terminal);
      return await runEncoder(model, texts, flags, terminal);
    }
    const settings = answerSettings(flags, model.hasTemplate);
    await model.prepare("generate");
    if (given === undefined && Deno.stdin.isTerminal() && !flags.lines && !flags.json) {
      const lines = askLines(Deno.stdin.readable, terminal);
      return await chat(model, lines, settings, terminal);
    }
    const prompts = inputTexts(given, Deno.stdin, !flags.lines, terminal);
    return await answerTexts(model, prompts, settings, flags, terminal);
  },
});

/** Tells what opening a model found. */
export function note(event: InferenceEvent, terminal: Terminal): void {
  if (event.kind === "runtime note") noteOfRuntime(event.message);
  else terminal.note(event.text);
}

/** The model and the text of the command line. */
function operandsOf(
  flags: RunFlags,
  operands: readonly string[],
): { readonly path: string; readonly given?: string } {
  const [path, words] = flags.model === undefined
    ? [operands[0], operands.slice(1)]
    : [flags.model, operands];
  if (path === undefined) {
    throw new UsageError(
      "graft run needs a model: `graft run MODEL [TEXT]`, a folder or .onnx file",
    );
  }
  if (flags.prompt !== undefined && words.length > 0) {
    throw new UsageError(
      `The text is given twice: with --prompt and as "${words.join(" ")}": give one of them`,
    );
  }
  return { path, given: flags.prompt ?? (words.length > 0 ? words.join(" ") : undefined) };
}
