/** `graft run` on a classifier or an encoder: a class or a vector for each text. */
import { EXIT } from "../errors.ts";
import type { OpenedModel } from "../model/open_model.ts";
import type { Runner } from "../runtime/runner.ts";
import { withSentenceEmbedding } from "../serve/embedding_graph.ts";
import { encodeText } from "../serve/encode_text.ts";
import { EncoderModel } from "../serve/encoder_model.ts";
import { shortened, topClasses } from "../serve/top_classes.ts";
import type { Terminal } from "./output.ts";
import type { RunFlags } from "./run_flags.ts";

/**
 * Classifies or embeds every text and prints a line for each.
 *
 * @param maxLength tokens at most; the end of a longer text is left out
 */
export async function runEncoder(
  runner: Runner,
  opened: OpenedModel,
  texts: AsyncIterable<string>,
  maxLength: number | undefined,
  flags: RunFlags,
  terminal: Terminal,
): Promise<number> {
  const embed = flags.embedding || opened.kind === "encoder";
  const model = embed ? withSentenceEmbedding(opened.model) : opened.model;
  using executable = await runner.compile(model, { label: opened.file });
  using encoder = new EncoderModel(runner, executable, model.graph);
  for await (const text of texts) {
    const { batch, truncated } = await encodeText(opened.text, text, maxLength);
    if (truncated) terminal.note(`The text was cut at ${maxLength} tokens`);
    if (embed) {
      const [vector] = await encoder.embed(batch);
      const embedding = Array.from(vector, shortened);
      terminal.print(JSON.stringify(flags.json ? { text, embedding } : embedding));
      continue;
    }
    const [probabilities] = await encoder.classify(batch);
    const classes = topClasses(probabilities, opened.labels, flags.topClasses);
    terminal.print(
      flags.json
        ? JSON.stringify({ text, ...classes[0], classes })
        : classes.map(({ label, probability }) => `${label}\t${probability.toFixed(4)}`).join("\t"),
    );
  }
  return EXIT.ok;
}
