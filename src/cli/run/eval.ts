/** `graft eval`: how well a model, or an adapter on it, predicts held-out data. */
import { EXIT, UsageError } from "../../errors.ts";
import type { EvaluationResult } from "../../eval/evaluate.ts";
import { withCarriedNames } from "../../model/carried_model.ts";
import {
  evaluate,
  EVALUATE_PARAMETERS as P,
  type EvaluateEvent,
  type Evaluation,
} from "../../tasks/evaluate.ts";
import { command } from "../command.ts";
import { DATA_FLAGS } from "../data_flags.ts";
import { noteEncoded } from "../train/encoded_note.ts";
import { boolean, integer, text } from "../flags.ts";
import { formatCount, formatShare } from "../terminal/format.ts";
import { ofFirstRank } from "../terminal/first_rank.ts";
import { longWork } from "../terminal/long_work.ts";
import { MODEL_TEXT } from "../models/model_text.ts";
import type { Terminal } from "../terminal/output.ts";
import { RANKS_FLAGS } from "../ranks_flags.ts";
import { RUNTIME_FLAGS } from "../runtime_flags.ts";
import { noteOfRuntime } from "../open_runner.ts";

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
    batchSize: integer("Rows per batch; rows of like length go together", P.batchSize),
    json: boolean("Print JSON", { default: false }),
    ...RANKS_FLAGS,
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
    {
      command: "mpirun -n 4 --host a,b,c,d graft eval ./smollm2-int4 --data ./data",
      does: "the same figures, from four boards that take the batches in turn",
    },
  ],
  needs: ["run"],
  async run({ flags, operands, terminal: own }) {
    const terminal = ofFirstRank(own);
    const model = flags.model ?? operands[0];
    if (model === undefined) {
      throw new UsageError("graft eval needs a model: `graft eval MODEL --data PATH`");
    }
    if (flags.model !== undefined && operands.length > 0) {
      throw new UsageError(
        `The model is given twice: with --model and as "${operands[0]}": give one of them`,
      );
    }
    const { json, ...config } = flags;
    const show = longWork(terminal);
    const result = await evaluate({ ...config, model }, {
      onEvent: (event) => tell(event, show, terminal),
    });
    const { roundingDifference } = result;
    if (roundingDifference !== undefined) {
      terminal.note(
        "Losses are of activations in floats; the runtime may round them to 8 bits: the logits of the " +
          `first targets differ by ${formatShare(roundingDifference)}`,
      );
    }
    if (json) terminal.print(JSON.stringify(evaluationJson(model, flags.adapterPath, result)));
    else for (const line of formatEvaluation(result)) terminal.print(line);
    return EXIT.ok;
  },
});

function tell(event: EvaluateEvent, show: (line: string) => void, terminal: Terminal): void {
  switch (event.kind) {
    case "runtime note":
      return noteOfRuntime(event.message);
    case "adapter note":
      return terminal.note(event.text);
    case "ranks":
      return terminal.note(`${event.count} ranks evaluate together (${event.library})`);
    case "encoded":
      return noteEncoded(withCarriedNames(event.path), event.report, event.classes, terminal);
    case "batch":
      return show(`batch ${event.batch} of ${event.batches}`);
  }
}

function evaluationJson(
  model: string,
  adapterPath: string | undefined,
  { dataPath, loss, perplexity, accuracy, macroF1, count, roundingDifference }: Evaluation,
) {
  return {
    model,
    adapter: adapterPath ?? null,
    data: dataPath,
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
