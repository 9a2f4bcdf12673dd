/** The workloads that graft and PEFT are compared on, as command lines of both. */

export interface Workload {
  readonly name: string;
  /** Arguments of `graft train`, adapter path excepted. */
  readonly graft: readonly string[];
  /** Arguments of the peer's script. */
  readonly peft: readonly string[];
}

/** @param shared folder with models, data and the peer's script */
export function workloads(shared: string): readonly Workload[] {
  const smollm2 = `${shared}/models/smollm2-135m-instruct-int4`;
  const minilm = `${shared}/models/all-minilm-l6-v2-int8`;
  // PEFT's script neither clips nor picks the best adapter.
  const plain = ["--max-grad-norm", "0", "--no-load-best", "--steps-per-report", "1"];
  const e2e = (name: string, targets: string): Workload => ({
    name,
    graft: [
      ...["--model", smollm2, "--data", `${shared}/data/e2e/bench512.jsonl`, "--no-shuffle"],
      ...["--batch-size", "8", "--epochs", "1", "--learning-rate", "1e-3"],
      ...["--max-seq-length", "256", "--target-modules", targets, ...plain],
    ],
    peft: [
      ...["causal", "--onnx", `${smollm2}/model.onnx`, "--in-order", "--batch", "8"],
      ...["--data", `${shared}/data/e2e/bench512.jsonl`, "--targets", targets],
      ...["--valid", `${shared}/data/e2e/bench_valid.jsonl`],
    ],
  });
  return [
    e2e("e2e.qv", "q_proj,v_proj"),
    e2e("e2e.all", "q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj"),
    {
      name: "banking77",
      graft: [
        ...["--model", minilm, "--data", `${shared}/data/banking77/train.csv`],
        ...["--batch-size", "32", "--epochs", "3", "--learning-rate", "2e-3"],
        ...["--target-modules", "query,value", ...plain],
      ],
      peft: [
        ...["seqcls", "--onnx", `${minilm}/model.onnx`, "--lr", "2e-3", "--epochs", "3"],
        ...["--data", `${shared}/data/banking77/train.csv`, "--batch", "32"],
        ...["--test", `${shared}/data/banking77/test.csv`, "--targets", "query,value"],
      ],
    },
  ];
}

/** The workload of a name. */
export function workload(shared: string, name: string): Workload {
  const all = workloads(shared);
  const found = all.find((each) => each.name === name);
  if (found !== undefined) return found;
  console.error(`There is no workload "${name}"; there are ${all.map((w) => w.name).join(", ")}`);
  Deno.exit(2);
}
