/**
 * graft as a library: train low-rank adapters over frozen, quantised ONNX models on stock ONNX
 * Runtime, merge them into the graph, run the result. The command line is `src/cli/main.ts`.
 */
export * from "./src/errors.ts";
export { VERSION } from "./src/version.ts";

// Graphs and files
export type { Graph, Model, Node, Opsets, ValueInfo } from "./src/graph/types.ts";
export { float32, int64, type Tensor, toNumbers } from "./src/graph/tensor.ts";
export { decodeModel, encodeModel, encodeModelWithExternalData } from "./src/onnx/mod.ts";
export { decodeSafetensors, encodeSafetensors } from "./src/safetensors/mod.ts";
export { loadOnnx } from "./src/model/load_onnx.ts";
export { openModel } from "./src/model/open_model.ts";

// Adapters
export * from "./src/lora/mod.ts";
export { applyAdapter, checkBase } from "./src/lora/apply.ts";
export { loadAdapter, saveAdapter } from "./src/model/adapter_dir.ts";
export { mergeAdapters } from "./src/model/merge_adapters.ts";

// Differentiation
export { pullback } from "./src/autodiff/pullback.ts";
export { type PlanOptions, planTraining, type TrainingPlan } from "./src/plan/plan.ts";

// Running
export { createOrtRunner, type OrtRunnerOptions } from "./src/runtime/ort_runner.ts";
export type { CompileOptions, DeviceTensor, Executable, Runner } from "./src/runtime/runner.ts";
export { PlannedModel } from "./src/train/planned_model.ts";
export type { PlannedModelOptions } from "./src/train/planned_options.ts";
export { graphOptimizer } from "./src/train/graph_optimizer.ts";
export { train } from "./src/train/loop.ts";
export { evaluate } from "./src/eval/evaluate.ts";
export { CausalModel } from "./src/serve/causal_model.ts";
export { EncoderModel } from "./src/serve/encoder_model.ts";
export { generate } from "./src/serve/generate.ts";
