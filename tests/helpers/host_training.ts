/** A model, an optimiser and data in plain TypeScript, for tests of what stands around a step. */
import { float32, type Tensor, toNumbers } from "../../src/graph/tensor.ts";
import type { DeviceTensor } from "../../src/runtime/runner.ts";
import type { Optimizer, OptimizerState } from "../../src/train/optimizer.ts";
import { Random } from "../../src/random.ts";
import type { Batch, BatchLoss, BatchSource, Parameter, StepModel } from "../../src/train/step.ts";

/** A "device" tensor that lies in the host's memory. */
export class HostTensor implements DeviceTensor {
  readonly dtype = "float32";
  constructor(readonly dims: readonly number[], readonly values: Float32Array) {}
  read(): Tensor {
    return float32(this.dims, this.values.slice());
  }
  write(value: Tensor): void {
    this.values.set(Float32Array.from(toNumbers(value)));
  }
  /** A copy: tests keep what a checkpoint looks at. */
  view(): Tensor {
    return this.read();
  }
  [Symbol.dispose](): void {}
}

/** A parameter holding the given values. */
export function hostParameter(name: string, dims: readonly number[], values: number[]): Parameter {
  return { name, dims, value: new HostTensor(dims, Float32Array.from(values)), grad: undefined };
}

const valuesOf = (held: DeviceTensor) => (held as HostTensor).values;

/** Rows of inputs and what the line through them should give. */
export interface Rows extends Batch {
  readonly rows: readonly { readonly x: readonly number[]; readonly y: number }[];
}

export const WIDTH = 4;

/**
 * Least squares: loss of a row is (w·x + b - y)². Dropout: an input is zeroed where a bit of the
 * seed says so, if `dropout`.
 */
export class LeastSquares implements StepModel<Rows> {
  readonly parameters = [
    hostParameter("weight", [WIDTH], Array(WIDTH).fill(0)),
    hostParameter("bias", [], [0]),
  ];
  constructor(readonly dropout = false) {}

  #predict(x: readonly number[]): number {
    const [w, b] = this.parameters.map(({ value }) => valuesOf(value));
    return x.reduce((sum, xi, i) => sum + xi * w[i], b[0]);
  }

  accumulate({ rows }: Rows, dropoutSeed: number): Promise<BatchLoss> {
    const [weight, bias] = this.parameters;
    weight.grad ??= new HostTensor([WIDTH], new Float32Array(WIDTH));
    bias.grad ??= new HostTensor([], new Float32Array(1));
    const [gw, gb] = [valuesOf(weight.grad), valuesOf(bias.grad)];
    let lossSum = 0;
    for (const { x, y } of rows) {
      const kept = this.dropout ? x.map((xi, i) => (dropoutSeed >> i) & 1 ? xi * 2 : 0) : x;
      const error = this.#predict(kept) - y;
      lossSum += error * error;
      kept.forEach((xi, i) => gw[i] += 2 * error * xi);
      gb[0] += 2 * error;
    }
    return Promise.resolve({ lossSum, targetCount: rows.length });
  }

  evaluate({ rows }: Rows): Promise<BatchLoss> {
    const lossSum = rows.reduce((sum, { x, y }) => sum + (this.#predict(x) - y) ** 2, 0);
    return Promise.resolve({ lossSum, targetCount: rows.length });
  }

  zeroGrad(): void {
    for (const parameter of this.parameters) parameter.grad = undefined;
  }

  [Symbol.dispose](): void {}
}

/** Rows on a known plane, a little noise, in batches of `batchSize`; another order each epoch. */
export function planeData(count: number, batchSize: number, seed = 1): BatchSource<Rows> {
  const random = Random.fromSeed(seed);
  const uniform = () => random.next() / 2 ** 32 * 2 - 1;
  const rows = Array.from({ length: count }, () => {
    const x = Array.from({ length: WIDTH }, uniform);
    return { x, y: x.reduce((sum, xi, i) => sum + xi * (i + 1), 0.5) + 0.01 * uniform() };
  });
  return {
    batches: () => Math.ceil(count / batchSize),
    batch(epoch, index) {
      const part = Array.from(
        { length: Math.min(batchSize, count - index * batchSize) },
        (_, i) => rows[(index * batchSize + i + epoch * 7) % count],
      );
      return Promise.resolve({ rows: part, tokenCount: part.length * WIDTH });
    },
  };
}

/** AdamW in double precision on the host, written after PyTorch's documentation. */
export class HostAdamW implements Optimizer {
  #updates = 0;
  readonly #moments: Map<string, Float32Array>;
  #previous: Float32Array[] | undefined;
  readonly #beta1 = 0.9;
  readonly #beta2 = 0.999;
  readonly #eps = 1e-8;

  constructor(readonly parameters: readonly Parameter[], readonly weightDecay = 0) {
    this.#moments = new Map(
      parameters.flatMap(({ name, value }) =>
        ["m", "v"].map((slot) => [`${name}.${slot}`, new Float32Array(valuesOf(value).length)])
      ),
    );
  }

  gradientNorm(): Promise<number> {
    let sum = 0;
    for (const { grad } of this.parameters) for (const g of valuesOf(grad!)) sum += g * g;
    return Promise.resolve(Math.sqrt(sum));
  }

  update(learningRate: number, gradientScale: number): Promise<void> {
    this.#previous = this.parameters.map(({ value }) => valuesOf(value).slice());
    const t = ++this.#updates;
    for (const { name, value, grad } of this.parameters) {
      const [p, g] = [valuesOf(value), valuesOf(grad!)];
      const [m, v] = ["m", "v"].map((slot) => this.#moments.get(`${name}.${slot}`)!);
      for (let i = 0; i < p.length; i++) {
        const gi = g[i] * gradientScale;
        const decayed = p[i] - learningRate * this.weightDecay * p[i];
        m[i] = this.#beta1 * m[i] + (1 - this.#beta1) * gi;
        v[i] = this.#beta2 * v[i] + (1 - this.#beta2) * gi * gi;
        const mHat = m[i] / (1 - this.#beta1 ** t);
        const vHat = v[i] / (1 - this.#beta2 ** t);
        p[i] = decayed - learningRate * mHat / (Math.sqrt(vHat) + this.#eps);
      }
    }
    return Promise.resolve();
  }

  revert(): boolean {
    if (this.#previous === undefined) return false;
    this.parameters.forEach(({ value }, i) => valuesOf(value).set(this.#previous![i]));
    return true;
  }

  state(): OptimizerState {
    const moments = [...this.#moments].map(([name, values]) =>
      [name, float32([values.length], values.slice())] as const
    );
    const previous = this.#previous &&
      new Map(
        this.parameters.map(({ name, dims }, i) =>
          [name, float32(dims, this.#previous![i].slice())] as const
        ),
      );
    return { updates: this.#updates, moments: new Map(moments), previous };
  }

  restore({ updates, moments, previous }: OptimizerState): void {
    for (const [name, values] of this.#moments) {
      values.set(Float32Array.from(toNumbers(moments.get(name)!)));
    }
    this.#updates = updates;
    this.#previous = previous &&
      this.parameters.map(({ name }) => Float32Array.from(toNumbers(previous.get(name)!)));
  }

  [Symbol.dispose](): void {}
}
