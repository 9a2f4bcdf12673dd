/**
 * `graft bench decode`: measures how fast a language model reads and answers, alternately with another
 * one.
 */
import { type DecodeTimes, timeDecoding } from "../../bench/decode.ts";
import { EXIT, UsageError } from "../../errors.ts";
import { findModelFile } from "../../model/find_model.ts";
import { type LoadedModel, loadOnnx } from "../../model/load_onnx.ts";
import { classCount, modelKind } from "../../model/model_kind.ts";
import { median } from "../../statistics.ts";
import { processMemory } from "../../system/memory.ts";
import { JSON_FLAG, machine, MODEL_FLAG } from "./bench_flags.ts";
import { command } from "../command.ts";
import { integer, text } from "../flags.ts";
import type { Terminal } from "../terminal/output.ts";
import { openRunner, RUNTIME_FLAGS } from "../runtime_flags.ts";
import { printTable } from "../terminal/table.ts";

/** Figures of one model, under the names that `--json` prints. */
interface DecodeFigures {
  readonly model: string;
  readonly size_mb: number;
  readonly prefill_tokens_per_s: number;
  readonly prefill_ms: number;
  readonly decode_tokens_per_s: number;
  readonly token_ms: number;
}

/** Ids below it are in every vocabulary. */
const FEWEST_TOKENS = 256;

export default command({
  name: "bench decode",
  summary: "Measure how fast a language model reads a prompt and answers",
  flags: {
    model: MODEL_FLAG,
    against: text("Another model to measure in turn, such as the base of a merged one", {
      placeholder: "DIR",
    }),
    promptTokens: integer("Tokens of the prompt", { default: 128, min: 1 }),
    tokens: integer("Tokens of the answer", { default: 128, min: 1 }),
    rounds: integer("Rounds to time, after one that is left out", { default: 5, min: 1 }),
    json: JSON_FLAG,
    ...RUNTIME_FLAGS,
  },
  examples: [
    {
      command: "graft bench decode --model ./merged --against ./smollm2-int4",
      does: "a merged model and its base, alternately",
    },
  ],
  async run({ flags, terminal }) {
    const { promptTokens, tokens: answerTokens, rounds } = flags;
    const paths = [flags.model, ...(flags.against === undefined ? [] : [flags.against])];
    using resources = new DisposableStack();
    const loaded = paths.map((path) => resources.use(loadLanguageModel(path)));
    using runner = openRunner(flags);
    // The other model twice: its ratio to itself shows the machine's noise.
    const models = loaded.map(({ model }) => model);
    const times = await timeDecoding(runner, [...models, ...models.slice(1)], {
      promptTokens,
      answerTokens,
      rounds,
      vocabulary: Math.min(
        ...loaded.map(({ model }) => classCount(model.graph) ?? FEWEST_TOKENS),
      ),
    });
    const figures = paths.map((model, i): DecodeFigures => {
      const { prefillMs, decodeMs } = times[i];
      return {
        model,
        size_mb: loaded[i].sizeBytes / 1e6,
        prefill_tokens_per_s: 1000 * promptTokens / median(prefillMs),
        prefill_ms: median(prefillMs),
        decode_tokens_per_s: 1000 * answerTokens / median(decodeMs),
        token_ms: median(decodeMs) / answerTokens,
      };
    });
    const ratios = ratiosOf(times);
    const peakMb = processMemory().peakRssBytes / 2 ** 20;
    const { processor, runtime } = machine(runner);
    if (flags.json) {
      terminal.print(JSON.stringify({
        processor,
        runtime,
        prompt_tokens: promptTokens,
        tokens: answerTokens,
        rounds,
        peak_rss_mb: peakMb,
        models: figures,
        ...ratios,
      }));
      return EXIT.ok;
    }
    terminal.print(`${processor}, ${runtime}`);
    printFigures(figures, promptTokens, terminal);
    if (ratios !== undefined) terminal.print(formatRatios(ratios, flags.against!));
    terminal.print(`Peak memory ${Math.round(peakMb)} MB`);
    return EXIT.ok;
  },
});

/** A model's times divided by another's, and the other's by its own, under the names of `--json`. */
interface DecodeRatios {
  readonly prefill_ratio: number;
  readonly decode_ratio: number;
  readonly prefill_control_ratio: number;
  readonly decode_control_ratio: number;
}

/** @param times times of the model, and twice those of another model to compare with, if any */
function ratiosOf([own, base, control]: readonly DecodeTimes[]): DecodeRatios | undefined {
  return base && {
    prefill_ratio: ratio(own.prefillMs, base.prefillMs),
    decode_ratio: ratio(own.decodeMs, base.decodeMs),
    prefill_control_ratio: ratio(control.prefillMs, base.prefillMs),
    decode_control_ratio: ratio(control.decodeMs, base.decodeMs),
  };
}

function printFigures(
  figures: readonly DecodeFigures[],
  promptTokens: number,
  terminal: Terminal,
): void {
  printTable(figures, [
    { heading: "model", cell: (row) => row.model },
    { heading: "MB", cell: (row) => row.size_mb },
    { heading: `prefill ${promptTokens} ms`, cell: (row) => row.prefill_ms },
    { heading: "tok/s", cell: (row) => row.prefill_tokens_per_s },
    { heading: "ms/token", cell: (row) => row.token_ms },
    { heading: "tok/s", cell: (row) => row.decode_tokens_per_s },
  ], terminal);
}

function formatRatios(ratios: DecodeRatios, against: string): string {
  const shown = (value: number) => value.toFixed(3);
  return `Time against ${against}: prefill ${shown(ratios.prefill_ratio)}, ` +
    `decode ${shown(ratios.decode_ratio)} (medians of ratios round by round); that of it against ` +
    `itself: ${shown(ratios.prefill_control_ratio)}, ${shown(ratios.decode_control_ratio)}`;
}

/** @throws {UsageError} for a model that does not generate */
function loadLanguageModel(path: string): LoadedModel {
  const loaded = loadOnnx(findModelFile(path));
  if (modelKind(loaded.model.graph) === "causal") return loaded;
  loaded[Symbol.dispose]();
  throw new UsageError(
    `Cannot time answers of "${path}": it is not a language model; \`graft merge\` times other models`,
  );
}

/** Median over the rounds of one model's time divided by the other's. */
function ratio(own: readonly number[], base: readonly number[]): number {
  return median(own.map((time, i) => time / base[i]));
}
