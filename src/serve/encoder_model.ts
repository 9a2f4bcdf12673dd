/** A sentence encoder at inference: class probabilities, or embeddings. */
import { elementCount, type Tensor, toNumbers } from "../graph/tensor.ts";
import type { Graph } from "../graph/types.ts";
import { BadInputError } from "../errors.ts";
import { type RowCut, together } from "../data/row_cuts.ts";
import { padTokens } from "../data/slice_batch.ts";
import { chooseCut } from "../eval/choose_cut.ts";
import { runOn } from "../eval/run_on.ts";
import { fixedShape } from "../plan/inputs.ts";
import type { Executable, Runner } from "../runtime/runner.ts";
import type { TokenBatch } from "../data/targets.ts";
import { SENTENCE_OUTPUTS, TOKEN_OUTPUTS } from "./embedding_graph.ts";
import { type LengthGroup, lengthGroups } from "./length_groups.ts";
import { RunClock } from "../runtime/run_clock.ts";
import { type RunOutput, ShapedRuns } from "./shaped_runs.ts";

const NOTHING: ReadonlyMap<string, Tensor> = new Map();

export class EncoderModel implements Disposable {
  readonly #clock = new RunClock();
  readonly #runner: Runner;
  readonly #executable: Executable;
  readonly #graph: Graph;
  readonly #shaped: ShapedRuns;
  readonly #fixed: ReturnType<typeof fixedShape>;
  /** The rule that decides which sequences run together, once it is known. */
  #cut: Promise<RowCut> | undefined;

  /**
   * @param executable the compiled graph, for embeddings preferably from `withSentenceEmbedding`; the
   * caller owns it
   */
  constructor(runner: Runner, executable: Executable, graph: Graph) {
    this.#runner = runner;
    this.#executable = executable;
    this.#graph = graph;
    this.#shaped = new ShapedRuns(runner, executable, graph);
    this.#fixed = fixedShape(graph);
  }

  /**
   * @returns class probabilities of each sequence, summing to 1
   * @throws {BadInputError} if the model has no `logits`
   */
  async classify(batch: TokenBatch): Promise<Float32Array[]> {
    const name = this.#find(["logits"], "classify");
    return await this.#inGroups(
      batch,
      name,
      ({ values, dims }) => rowsOf(values, dims[dims.length - 1]).map(softmax),
    );
  }

  /**
   * @returns one vector of length 1 per sequence: the mean over its real tokens' states, or the
   *   model's own sentence embedding
   * @throws {BadInputError} if the model has neither
   */
  async embed(batch: TokenBatch): Promise<Float32Array[]> {
    const name = this.#find([...SENTENCE_OUTPUTS, ...TOKEN_OUTPUTS], "embed");
    return await this.#inGroups(batch, name, ({ values, dims }, group) => {
      const rows = rowsOf(values, dims[dims.length - 1]);
      return (dims.length === 2 ? rows : pooled(rows, group)).map(normalized);
    });
  }

  /**
   * Runs a batch in groups of texts of similar length, or in the sizes that the model requires, and
   * returns the results in the batch's order.
   */
  async #inGroups<T>(
    batch: TokenBatch,
    name: string,
    read: (output: RunOutput, group: TokenBatch) => T[],
  ): Promise<T[]> {
    const { length } = this.#fixed;
    const whole = length === undefined ? batch : padTokens(batch, length);
    const results: T[] = [];
    for (const { rows, batch: group } of await this.#groups(whole, name)) {
      read(await this.#output(group, name), group).forEach((result, i) =>
        results[rows[i]] = result
      );
    }
    return results;
  }

  async #groups(batch: TokenBatch, name: string): Promise<LengthGroup[]> {
    const [sequences] = batch.inputIds.dims;
    const rows = Array.from({ length: sequences }, (_, row) => row);
    if (sequences === 1) return [{ rows, batch }];
    this.#cut ??= chooseCut(
      this.#graph,
      batch,
      async (part) => (await this.#output(part, name)).values,
    );
    // A failed run has not determined the rule.
    const cut = await this.#cut.catch((error) => {
      this.#cut = undefined;
      throw error;
    });
    if (cut !== together) return cut(batch).map((part, row) => ({ rows: [row], batch: part }));
    return this.#takesAnyShape ? lengthGroups(batch) : [{ rows, batch }];
  }

  /** Whether the model accepts any batch size and length. */
  get #takesAnyShape(): boolean {
    return this.#fixed.sequences === undefined && this.#fixed.length === undefined;
  }

  #find(names: readonly string[], what: string): string {
    const outputs = this.#graph.outputs.map(({ name }) => name);
    const found = names.find((name) => outputs.includes(name));
    if (found !== undefined) return found;
    throw new BadInputError(
      `Cannot ${what}: the model has none of the outputs ${names.join(", ")}: its outputs are ${
        outputs.join(", ")
      }`,
    );
  }

  [Symbol.dispose](): void {
    this.#shaped[Symbol.dispose]();
  }

  #output(batch: TokenBatch, name: string): Promise<RunOutput> {
    const bound = this.#takesAnyShape && this.#shaped.fits(batch, name);
    return this.#clock.time(
      elementCount(batch.inputIds.dims),
      (brief) => bound ? this.#shaped.run(batch, name, brief) : this.#run(batch, name, brief),
    );
  }

  async #run(batch: TokenBatch, name: string, brief: boolean): Promise<RunOutput> {
    const options = { brief };
    const results = await runOn(
      this.#runner,
      this.#executable,
      this.#graph,
      batch,
      NOTHING,
      [name],
      options,
    );
    using held = results[name];
    const value = held.read();
    const numbers = toNumbers(value);
    const values = numbers instanceof Float32Array ? numbers : Float32Array.from(numbers);
    return { values, dims: value.dims };
  }
}

/** Sums of the states of each sequence's real tokens, which have the direction of the means. */
function pooled(states: readonly Float32Array[], { attentionMask }: TokenBatch): Float32Array[] {
  const [sequences, length] = attentionMask.dims;
  const mask = toNumbers(attentionMask);
  return Array.from({ length: sequences }, (_, s) => {
    const sum = new Float32Array(states[0].length);
    for (let t = 0; t < length; t++) {
      if (mask[s * length + t] === 0) continue;
      states[s * length + t].forEach((value, i) => sum[i] += value);
    }
    return sum;
  });
}

function rowsOf(values: Float32Array, width: number): Float32Array[] {
  return Array.from(
    { length: values.length / width },
    (_, row) => values.subarray(row * width, (row + 1) * width),
  );
}

function softmax(logits: Float32Array): Float32Array {
  const max = logits.reduce((a, c) => Math.max(a, c), -Infinity);
  const exponentials = logits.map((logit) => Math.exp(logit - max));
  const sum = exponentials.reduce((a, c) => a + c, 0);
  return exponentials.map((value) => value / sum);
}

function normalized(vector: Float32Array): Float32Array {
  let squares = 0;
  for (let i = 0; i < vector.length; i++) squares += vector[i] * vector[i];
  if (squares === 0) return vector;
  const length = Math.sqrt(squares);
  const result = new Float32Array(vector.length);
  for (let i = 0; i < vector.length; i++) result[i] = vector[i] / length;
  return result;
}
