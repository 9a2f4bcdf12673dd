/** The least-squares model of `host_training.ts` with its arithmetic in ONNX Runtime. */
import { int } from "../../src/graph/attributes.ts";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { float32, toNumbers } from "../../src/graph/tensor.ts";
import type { Model } from "../../src/graph/types.ts";
import { inferTraining, TRAINING_OPSETS } from "../../src/ops/registry.ts";
import type { DeviceTensor, Executable, Runner } from "../../src/runtime/runner.ts";
import type { BatchLoss, Parameter, StepModel } from "../../src/train/step.ts";
import { type Rows, WIDTH } from "./host_training.ts";

/** x [rows, WIDTH], y [rows, 1], weight [WIDTH, 1], grad → loss [], new_grad. */
function stepModel(rows: number): Model {
  const b = new GraphBuilder(inferTraining);
  const x = b.input("x", "float32", [rows, WIDTH]);
  const y = b.input("y", "float32", [rows, 1]);
  const weight = b.input("weight", "float32", [WIDTH, 1]);
  const grad = b.input("grad", "float32", [WIDTH, 1]);
  const error = b.op("Sub", [b.op("MatMul", [x, weight]), y]);
  const loss = b.op("ReduceSum", [b.op("Mul", [error, error])], { keepdims: int(0) });
  const transposed = b.op("Transpose", [x], { perm: { kind: "ints", value: [1, 0] } });
  const own = b.op("Mul", [b.op("MatMul", [transposed, error]), b.scalar(2)]);
  const total = b.op("Add", [grad, own]);
  const graph = b.build("least_squares", [loss, total]);
  return { irVersion: 10, opsets: TRAINING_OPSETS, graph, metadata: {} };
}

export class OrtLeastSquares implements StepModel<Rows> {
  readonly parameters: [Parameter];
  readonly #compiled = new Map<number, Executable>();

  constructor(readonly runner: Runner) {
    const dims = [WIDTH, 1];
    const value = runner.upload(float32(dims, Array(WIDTH).fill(0)));
    this.parameters = [{ name: "weight", dims, value, grad: undefined }];
  }

  async #run({ rows }: Rows): Promise<{ lossSum: number; grad: DeviceTensor }> {
    let compiled = this.#compiled.get(rows.length);
    if (compiled === undefined) {
      compiled = await this.runner.compile(stepModel(rows.length));
      this.#compiled.set(rows.length, compiled);
    }
    const { value, grad } = this.parameters[0];
    using x = this.runner.upload(float32([rows.length, WIDTH], rows.flatMap((row) => row.x)));
    using y = this.runner.upload(float32([rows.length, 1], rows.map((row) => row.y)));
    using zero = this.runner.allocate("float32", [WIDTH, 1]);
    const outputs = await compiled.run({ x, y, weight: value, grad: grad ?? zero });
    const [lossName, gradName] = compiled.outputNames;
    using loss = outputs[lossName];
    return { lossSum: toNumbers(loss.read())[0], grad: outputs[gradName] };
  }

  async accumulate(batch: Rows): Promise<BatchLoss> {
    const { lossSum, grad } = await this.#run(batch);
    this.zeroGrad();
    this.parameters[0].grad = grad;
    return { lossSum, targetCount: batch.rows.length };
  }

  async evaluate(batch: Rows): Promise<BatchLoss> {
    const { lossSum, grad } = await this.#run(batch);
    grad[Symbol.dispose]();
    return { lossSum, targetCount: batch.rows.length };
  }

  zeroGrad(): void {
    this.parameters[0].grad?.[Symbol.dispose]();
    this.parameters[0].grad = undefined;
  }

  [Symbol.dispose](): void {
    this.zeroGrad();
    this.parameters[0].value[Symbol.dispose]();
    for (const compiled of this.#compiled.values()) compiled[Symbol.dispose]();
  }
}
