/** A sentence encoder at inference: class probabilities, or embeddings. */
import { elementCount, type Tensor, toNumbers } from "../graph/tensor.ts";
import type { Graph } from "../graph/types.ts";
import { BadInputError } from "../errors.ts";
import { runOn } from "../eval/evaluate.ts";
import type { Executable, Runner } from "../runtime/runner.ts";
import type { TokenBatch } from "../data/targets.ts";
import { SENTENCE_OUTPUTS, TOKEN_OUTPUTS } from "./embedding_graph.ts";
import { RunClock } from "./run_clock.ts";

const NOTHING: ReadonlyMap<string, Tensor> = new Map();

export class EncoderModel {
  readonly #clock = new RunClock();
  readonly #runner: Runner;
  readonly #executable: Executable;
  readonly #graph: Graph;

  /** @param executable the model's graph, for embeddings best by `withSentenceEmbedding`; stays the caller's */
  constructor(runner: Runner, executable: Executable, graph: Graph) {
    this.#runner = runner;
    this.#executable = executable;
    this.#graph = graph;
  }

  /**
   * @returns class probabilities of each sequence, summing to 1
   * @throws {BadInputError} where the model has no `logits`
   */
  async classify(batch: TokenBatch): Promise<Float32Array[]> {
    const { values, dims } = await this.#output(batch, this.#find(["logits"], "classify"));
    const classes = dims[dims.length - 1];
    return rowsOf(values, classes).map(softmax);
  }

  /**
   * @returns one vector of length 1 per sequence: the mean over its real tokens' states, or the
   *   model's own sentence embedding
   * @throws {BadInputError} where the model has neither
   */
  async embed(batch: TokenBatch): Promise<Float32Array[]> {
    const name = this.#find([...SENTENCE_OUTPUTS, ...TOKEN_OUTPUTS], "embed");
    const { values, dims } = await this.#output(batch, name);
    const width = dims[dims.length - 1];
    const rows = rowsOf(values, width);
    if (dims.length === 2) return rows.map(normalized);
    const [sequences, length] = dims;
    const mask = toNumbers(batch.attentionMask);
    return Array.from({ length: sequences }, (_, s) => {
      const sum = new Float32Array(width);
      for (let t = 0; t < length; t++) {
        if (mask[s * length + t] === 0) continue;
        const row = rows[s * length + t];
        for (let i = 0; i < width; i++) sum[i] += row[i];
      }
      // The mean's length does not matter: it is normalised.
      return normalized(sum);
    });
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

  async #output(batch: TokenBatch, name: string) {
    const results = await this.#clock.time(
      elementCount(batch.inputIds.dims),
      (brief) =>
        runOn(this.#runner, this.#executable, this.#graph, batch, NOTHING, [name], { brief }),
    );
    using held = results[name];
    const value = held.read();
    const numbers = toNumbers(value);
    const values = numbers instanceof Float32Array ? numbers : Float32Array.from(numbers);
    return { values, dims: value.dims };
  }
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
  const length = Math.sqrt(vector.reduce((sum, value) => sum + value * value, 0));
  return length === 0 ? vector : vector.map((value) => value / length);
}
