/** `graft eval`: how well a model, or an adapter on it, predicts held-out data. */
import type { Batch, Batches } from "../data/mod.ts";
import { BadInputError, EXIT, UsageError } from "../errors.ts";
import type { EvaluationResult } from "../eval/evaluate.ts";
import { openAdapted, openModel } from "../model/open_model.ts";
import { command } from "./command.ts";
import { DATA_FLAGS } from "./data_flags.ts";
import { loadEvalData } from "./eval_data.ts";
import { evaluatorFor } from "./evaluator.ts";
import { boolean, integer, text } from "./flags.ts";
import { formatCount, formatShare } from "./format.ts";
import { longWork } from "./long_work.ts";
import { MODEL_TEXT } from "./model_text.ts";
import type { Terminal } from "./output.ts";
import { openRunner, RUNTIME_FLAGS } from "./runtime_flags.ts";

export default command({
  name: "eval",
  summary: "Measure loss, perplexity, accuracy and macro F1 on held-out data",
  operands: "MODEL --data PATH",
  maxOperands: 1,
  flags: {
    model: text(MODEL_TEXT, {
      short: "m",
      placeholder: "DIR",
      group: "Model and data",
    }),
    adapterPath: text("Adapter to evaluate on the model, without merging it", {
      placeholder: "DIR",
      group: "Model and data",
    }),
    data: text("Folder whose test part (else valid, else train) counts, or one file", {
      required: true,
      placeholder: "PATH",
      group: "Model and data",
    }),
    ...DATA_FLAGS,
    batchSize: integer("Rows per batch; rows of like length go together", { default: 8, min: 1 }),
    json: boolean("Print JSON", { default: false }),
    ...RUNTIME_FLAGS,
  },
  examples: [
    {
      command: "graft eval ./smollm2-int4 --data ./data --adapter-path adapters",
      does: "loss and perplexity of data/test.jsonl with the adapter",
    },
    {
      command: "graft eval ./merged --data banking_test.csv",
      does: "accuracy and macro F1 of a merged classifier",
    },
  ],
  needs: ["run"],
  async run({ flags, operands, terminal }) {
    const path = flags.model ?? operands[0];
    if (path === undefined) {
      throw new UsageError("graft eval needs a model: `graft eval MODEL --data PATH`");
    }
    if (flags.model !== undefined && operands.length > 0) {
      throw new UsageError(
        `The model is given twice: with --model and as "${operands[0]}": give one of them`,
      );
    }
    const note = (line: string) => terminal.note(line);
    using opened = flags.adapterPath === undefined
      ? await openModel(path)
      : await openAdapted(path, flags.adapterPath, note);
    using data = await loadEvalData(opened, flags, terminal);
    using runner = openRunner(flags, { modelBytes: opened.sizeBytes });
    const evaluate = await evaluatorFor(runner, flags.threads, opened.model, data.task);
    const result = await evaluate(opened.model, eachBatch(data.batches, terminal), {
      objective: data.task,
    });
    if (!Number.isFinite(result.loss)) {
      throw new BadInputError(
        `Cannot evaluate ${path}: the loss is ${result.loss} on ${data.path}: the model computes ` +
          "numbers that are not finite; its weights, or those of an adapter, may be damaged",
      );
    }
    const { roundingDifference } = result;
    if (roundingDifference !== undefined) {
      terminal.note(
        "Losses are of activations in floats; the runtime may round them to 8 bits: the logits of the " +
          `first targets differ by ${formatShare(roundingDifference)}`,
      );
    }
    if (flags.json) terminal.print(JSON.stringify(evaluationJson(path, data.path, flags, result)));
    else for (const line of formatEvaluation(result)) terminal.print(line);
    return EXIT.ok;
  },
});

/** All batches of a pass, with a word on how far it is. */
async function* eachBatch(batches: Batches, terminal: Terminal): AsyncGenerator<Batch> {
  const count = batches.batches(0);
  const show = longWork(terminal);
  for (let i = 0; i < count; i++) {
    show(`batch ${i + 1} of ${count}`);
    yield await batches.batch(0, i);
  }
}

function evaluationJson(
  model: string,
  data: string,
  { adapterPath }: { readonly adapterPath?: string },
  { loss, perplexity, accuracy, macroF1, count, roundingDifference }: EvaluationResult,
) {
  return {
    model,
    adapter: adapterPath ?? null,
    data,
    loss,
    ...(perplexity === undefined
      ? { accuracy, macro_f1: macroF1, rows: count }
      : { perplexity, target_tokens: count }),
    ...(roundingDifference === undefined ? {} : { rounding_difference: roundingDifference }),
  };
}

/** The figures as people read them. */
export function formatEvaluation(result: EvaluationResult): string[] {
  const { loss, perplexity, accuracy, macroF1, count } = result;
  if (perplexity !== undefined) {
    return [
      `loss        ${loss.toFixed(4)}`,
      `perplexity  ${perplexity.toFixed(3)}`,
      `targets     ${formatCount(count)} tokens`,
    ];
  }
  return [
    `loss        ${loss.toFixed(4)}`,
    `accuracy    ${formatShare(accuracy!)}`,
    `macro F1    ${formatShare(macroF1!)}`,
    `rows        ${formatCount(count)}`,
  ];
}
