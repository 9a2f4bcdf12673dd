/** The workloads that graft and PEFT are compared on, as command lines of both. */

export interface Workload {
  readonly name: string;
  /** Folder of the model. */
  readonly model: string;
  /** Arguments of `graft train`, adapter path excepted. */
  readonly graft: readonly string[];
  /** Arguments of the peer's script. */
  readonly peft: readonly string[];
  readonly targets: string;
  readonly batch: number;
  readonly epochs: number;
  readonly learningRate: number;
  /** Training, and held-out, data. */
  readonly data: string;
  readonly heldOut: string;
}

/** The data files that the workloads read. */
export interface WorkloadData {
  readonly e2eTrain: string;
  readonly e2eValid: string;
  readonly bankingTrain: string;
  readonly bankingTest: string;
}

export function sharedData(shared: string): WorkloadData {
  return {
    e2eTrain: `${shared}/data/e2e/bench512.jsonl`,
    e2eValid: `${shared}/data/e2e/bench_valid.jsonl`,
    bankingTrain: `${shared}/data/banking77/train.csv`,
    bankingTest: `${shared}/data/banking77/test.csv`,
  };
}

/** Longest row of e2e that is not cut, on both sides. */
export const E2E_LENGTH = 256;

/**
 * @param shared folder with models, data and the peer's script
 * @param data other files than the shared folder's, such as parts of them
 */
function workloads(shared: string, data = sharedData(shared)): readonly Workload[] {
  const smollm2 = `${shared}/models/smollm2-135m-instruct-int4`;
  const minilm = `${shared}/models/all-minilm-l6-v2-int8`;
  // PEFT's script neither clips nor picks the best adapter.
  const plain = ["--max-grad-norm", "0", "--no-load-best", "--steps-per-report", "1"];
  const e2e = (name: string, targets: string): Workload => ({
    name,
    model: smollm2,
    targets,
    batch: 8,
    epochs: 1,
    learningRate: 1e-3,
    data: data.e2eTrain,
    heldOut: data.e2eValid,
    graft: [
      ...["--model", smollm2, "--data", data.e2eTrain, "--no-shuffle"],
      ...["--batch-size", "8", "--epochs", "1", "--learning-rate", "1e-3"],
      ...["--max-seq-length", String(E2E_LENGTH), "--target-modules", targets, ...plain],
    ],
    peft: [
      ...["causal", "--onnx", `${smollm2}/model.onnx`, "--in-order", "--batch", "8"],
      ...["--data", data.e2eTrain, "--targets", targets],
      ...["--valid", data.e2eValid],
    ],
  });
  return [
    e2e("e2e.qv", "q_proj,v_proj"),
    e2e("e2e.all", "q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj"),
    {
      name: "banking77",
      model: minilm,
      targets: "query,value",
      batch: 32,
      epochs: 3,
      learningRate: 2e-3,
      data: data.bankingTrain,
      heldOut: data.bankingTest,
      graft: [
        ...["--model", minilm, "--data", data.bankingTrain],
        ...["--batch-size", "32", "--epochs", "3", "--learning-rate", "2e-3"],
        ...["--target-modules", "query,value", ...plain],
      ],
      peft: [
        ...["seqcls", "--onnx", `${minilm}/model.onnx`, "--lr", "2e-3", "--epochs", "3"],
        ...["--data", data.bankingTrain, "--batch", "32"],
        ...["--test", data.bankingTest, "--targets", "query,value"],
      ],
    },
  ];
}

/** The workload of a name. */
export function workload(shared: string, name: string, data?: WorkloadData): Workload {
  const all = workloads(shared, data);
  const found = all.find((each) => each.name === name);
  if (found !== undefined) return found;
  console.error(`There is no workload "${name}"; there are ${all.map((w) => w.name).join(", ")}`);
  Deno.exit(2);
}
