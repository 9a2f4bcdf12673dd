/** Times reading a prompt and answering it, models taking turns. */
import type { Model } from "../graph/types.ts";
import type { Runner } from "../runtime/runner.ts";
import { CausalModel } from "../serve/causal_model.ts";
import { argmax } from "../statistics.ts";
import { Random } from "../random.ts";

/** What one model took. */
export interface DecodeTimes {
  /** Milliseconds of reading the prompt, a round each; the first round is left out. */
  readonly prefillMs: readonly number[];
  /** Milliseconds of all answered tokens, a round each. */
  readonly decodeMs: readonly number[];
}

export interface DecodeOptions {
  /** Tokens of the prompt, at least 1. */
  readonly promptTokens: number;
  /** Tokens of the answer, at least 1. */
  readonly answerTokens: number;
  readonly rounds: number;
  /** Token ids of the prompt are drawn below this. */
  readonly vocabulary: number;
}

/**
 * Times language models on one prompt of made-up tokens, greedy, whatever tokens come. In each
 * round all of them read and answer, each time beginning with the next one.
 *
 * @returns the models' times, in their order
 */
export async function timeDecoding(
  runner: Runner,
  models: readonly Model[],
  options: DecodeOptions,
): Promise<readonly DecodeTimes[]> {
  using resources = new DisposableStack();
  const readers: CausalModel[] = [];
  for (const model of models) {
    readers.push(resources.use(await CausalModel.open(runner, model, "decode")));
  }
  const random = Random.fromSeed(0);
  const prompt = Array.from(
    { length: options.promptTokens },
    () => random.next() % options.vocabulary,
  );
  const times = models.map(() => ({ prefillMs: [] as number[], decodeMs: [] as number[] }));
  for (let round = 0; round <= options.rounds; round++) {
    for (let turn = 0; turn < readers.length; turn++) {
      // Each begins as often as the others, and none comes twice in a row.
      const i = (round + turn) % readers.length;
      const { prefillMs, decodeMs } = await answer(readers[i], prompt, options.answerTokens);
      if (round === 0) continue; // allocates, and warms caches
      times[i].prefillMs.push(prefillMs);
      times[i].decodeMs.push(decodeMs);
    }
  }
  return times;
}

async function answer(model: CausalModel, prompt: readonly number[], tokens: number) {
  model.reset();
  const start = performance.now();
  let logits = await model.continueTo(prompt);
  const read = performance.now();
  for (let i = 0; i < tokens; i++) logits = await model.advance([argmax(logits)]);
  return { prefillMs: read - start, decodeMs: performance.now() - read };
}
