/** `graft run` on a classifier or an encoder: a class or a vector for each text. */
import { EXIT } from "../../errors.ts";
import { shortened } from "../../serve/top_classes.ts";
import type { InferenceModel } from "../../tasks/inference_model.ts";
import type { Terminal } from "../terminal/output.ts";
import type { RunFlags } from "./run_flags.ts";

/** Classifies or embeds every text and prints a line for each. */
export async function runEncoder(
  model: InferenceModel,
  texts: AsyncIterable<string>,
  flags: Pick<RunFlags, "embedding" | "topClasses" | "json">,
  terminal: Terminal,
): Promise<number> {
  const embeds = flags.embedding || model.kind === "encoder";
  await model.prepare(embeds ? "embed" : "classify");
  const noteCut = (truncated: boolean) => {
    if (truncated) terminal.note(`The text was cut at ${model.contextSize} tokens`);
  };
  for await (const text of texts) {
    if (embeds) {
      const { vector, truncated } = await model.embed(text);
      noteCut(truncated);
      const embedding = Array.from(vector, shortened);
      terminal.print(JSON.stringify(flags.json ? { text, embedding } : embedding));
      continue;
    }
    const { classes, truncated } = await model.classify(text, flags.topClasses);
    noteCut(truncated);
    terminal.print(
      flags.json
        ? JSON.stringify({ text, ...classes[0], classes })
        : classes.map(({ label, probability }) => `${label}\t${probability.toFixed(4)}`).join("\t"),
    );
  }
  return EXIT.ok;
}
