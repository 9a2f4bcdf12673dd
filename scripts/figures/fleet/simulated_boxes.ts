/** Boxes of a fleet in one process: a model that is prepared once trains on the rows of one after another. */
import { Batches } from "../../../src/data/batches.ts";
import type { EncodedRows } from "../../../src/data/token_store.ts";
import type { TokenBatch } from "../../../src/data/targets.ts";
import { float32, type Tensor, toNumbers } from "../../../src/graph/tensor.ts";
import { type FineTuneInput, resolveConfig } from "../../../src/finetune/mod.ts";
import { prepareTraining } from "../../../src/finetune/prepare_training.ts";
import type { TrainingParts } from "../../../src/finetune/training_parts.ts";
import { readParameters, train, writeParameters } from "../../../src/train/loop.ts";
import type { OptimizerState } from "../../../src/train/optimizer.ts";
import { validate } from "../../../src/train/validate.ts";
import type { FleetLayer } from "../../../tests/helpers/fleet_rounds.ts";

const [LORA_A, LORA_B] = [".lora_A.weight", ".lora_B.weight"];

/** Tensors of an adapter and a classifier, by name. */
export type Parameters = ReadonlyMap<string, Tensor>;

/** How a box trains in a round. */
export interface LocalSteps {
  readonly steps: number;
  readonly batchSize: number;
  readonly learningRate: number;
  /** Of the order of its rows. */
  readonly seed: number;
}

/** The share of so many rows that was answered rightly. */
export interface Measured {
  readonly accuracy: number;
  readonly rows: number;
}

/** A training whose rows and start change from box to box. */
export class SimulatedBoxes implements Disposable {
  /** What every box starts with before the first round. */
  readonly start: Parameters;
  /** Class of each training row. */
  readonly classes: Int32Array;
  /** Which of A and B are trained. */
  readonly parts: "AB" | "B";
  readonly #parts: TrainingParts<TokenBatch>;
  readonly #optimizer: OptimizerState;
  readonly #data: Batches;

  private constructor(parts: TrainingParts<TokenBatch>, classes: Int32Array, frozen: boolean) {
    this.#parts = parts;
    this.#data = parts.data as Batches;
    this.classes = classes;
    this.parts = frozen ? "B" : "AB";
    this.start = readParameters(parts.model);
    const { updates, moments } = parts.optimizer.state();
    const copies = [...moments].map(([name, { dims, ...moment }]) =>
      [name, float32(dims, Float32Array.from(toNumbers({ dims, ...moment })))] as const
    );
    this.#optimizer = { updates, moments: new Map(copies) };
  }

  /** Loads model and data. */
  static async open(input: FineTuneInput): Promise<SimulatedBoxes> {
    const config = resolveConfig(input);
    const parts = await prepareTraining(config);
    const { rows } = parts.data as Batches;
    const classes = Int32Array.from(
      await Promise.all(
        Array.from({ length: rows.count }, async (_, i) => (await rows.row(i)).classId!),
      ),
    );
    return new SimulatedBoxes(parts, classes, config.freezeA);
  }

  /** Layers of the array that travels; with A frozen, `whole` has their widths. */
  layers(whole: SimulatedBoxes = this): FleetLayer[] {
    return [...this.start].flatMap(([name, { dims }]) => {
      if (name.endsWith(LORA_A)) return [];
      if (!name.endsWith(LORA_B)) return [{ name, rank: 0, in: dims[1] ?? 1, out: dims[0] }];
      const [rank, inputs] = whole.start.get(name.replace(LORA_B, LORA_A))!.dims;
      return [{ name: name.slice(0, -LORA_B.length), rank, in: inputs, out: dims[0] }];
    });
  }

  /** The array that travels. */
  vectorOf(parameters: Parameters): Float32Array {
    const all = this.#names().flatMap((name) => [...toNumbers(parameters.get(name)!)]);
    return Float32Array.from(all);
  }

  /** The tensors of an array. */
  parametersOf(vector: Float32Array): Parameters {
    let at = 0;
    return new Map(
      this.#names().map((name) => {
        const { dims } = this.start.get(name)!;
        const count = dims.reduce((product, dim) => product * dim, 1);
        return [name, float32(dims, vector.subarray(at, at += count))];
      }),
    );
  }

  /** Names in the order of the array: those of layers, A before B. */
  #names(): string[] {
    return [...this.start.keys()].flatMap((name) => {
      if (name.endsWith(LORA_A)) return [];
      const other = name.replace(LORA_B, LORA_A);
      return name.endsWith(LORA_B) && this.start.has(other) ? [other, name] : [name];
    });
  }

  /** Trains from given tensors on the rows of a box; the optimiser begins anew unless it goes on. */
  async train(
    start: Parameters,
    rows: Uint32Array,
    { steps, batchSize, learningRate, seed }: LocalSteps,
    goesOn = false,
  ): Promise<{ readonly parameters: Parameters; readonly loss: number }> {
    const { model, optimizer } = this.#parts;
    writeParameters(model, start);
    if (!goesOn) optimizer.restore(this.#optimizer);
    const losses: number[] = [];
    const { options, rows: all } = this.#data;
    const data = new Batches(someOf(all, rows), { ...options, batchSize, seed });
    await train({
      ...{ model, optimizer, data },
      settings: {
        totalSteps: steps,
        accumulation: 1,
        schedule: { name: "constant", learningRate, warmupSteps: 0, totalSteps: steps },
        ...{ maxGradNorm: 1, patience: 0, loadBest: false, seed, valBatches: 0 },
        ...{ stepsPerReport: steps, stepsPerEval: steps, saveEvery: steps },
      },
      callbacks: { onStep: ({ loss }) => losses.push(loss) },
    });
    const last = losses.slice(-3);
    const loss = last.reduce((sum, value) => sum + value, 0) / last.length;
    return { parameters: readParameters(model), loss };
  }

  /** Accuracy on the test rows, or on so many batches spread over them. */
  async accuracy(parameters: Parameters, batches = -1): Promise<Measured> {
    writeParameters(this.#parts.model, parameters);
    const found = await validate(this.#parts.model, this.#parts.validation!, batches);
    return { accuracy: found!.accuracy!, rows: found!.targetCount };
  }

  [Symbol.dispose](): void {
    this.#parts[Symbol.dispose]();
  }
}

function someOf(rows: EncodedRows, indices: Uint32Array): EncodedRows {
  return {
    count: indices.length,
    tokenCount: (i) => rows.tokenCount(indices[i]),
    row: (i) => rows.row(indices[i]),
  };
}
