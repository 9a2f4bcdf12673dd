/** `graft inspect`: what a model is made of and what adapting it would take. */
import { dirname } from "@std/path";
import { EXIT, UsageError } from "../errors.ts";
import { formatGraph } from "../graph/print.ts";
import { findModelFile } from "../model/find_model.ts";
import { readGenerationConfig } from "../model/generation_config.ts";
import { inspectModel, inspectPlan } from "../model/inspect.ts";
import { loadOnnx } from "../model/load_onnx.ts";
import { allRules, findRule } from "../ops/registry.ts";
import { operatorName } from "../graph/types.ts";
import { openMapped } from "../system/mapped_file.ts";
import { freeBytes } from "../system/memory.ts";
import { processor } from "../system/processor.ts";
import { keepBudget } from "../train/keep_budget.ts";
import { passControlHere } from "../train/left_out_passes.ts";
import { command } from "./command.ts";
import { boolean, integer, list } from "./flags.ts";
import { formatInspection } from "./inspect_report.ts";
import { formatPlan } from "./plan_report.ts";

export default command({
  name: "inspect",
  summary:
    "Show a model's inputs, layers, possible LoRA targets, size and the memory training takes",
  operands: "MODEL",
  maxOperands: 1,
  flags: {
    rank: integer("Rank of the adapter to count parameters for", {
      short: "r",
      default: 8,
      min: 1,
    }),
    targetModules: list("Modules of that adapter; q,v if absent"),
    batchSize: integer("Rows per batch of the run to predict", { default: 4, min: 1 }),
    maxSeqLength: integer("Tokens per row of the run to predict, or as many as the model takes", {
      default: 256,
      min: 1,
    }),
    json: boolean("Print JSON", { default: false }),
    graph: boolean("Print the graph instead, one line a node", { default: false }),
    plan: boolean(
      "Print the plan of a training step instead: passes, calls, what is kept",
      { default: false },
    ),
    operators: boolean("List the operators graft can train through, and stop", { default: false }),
  },
  examples: [
    {
      command: "graft inspect ./smollm2-int4",
      does: "shows what can be adapted and what it takes",
    },
    {
      command: "graft inspect model.onnx --rank 16 --target-modules all-linear",
      does: "counts for that adapter",
    },
    {
      command: "graft inspect model.onnx --plan --batch-size 2 --max-seq-length 64",
      does: "shows what a training step of such a batch computes, call by call",
    },
  ],
  run({ flags, given, operands, terminal }) {
    if (flags.operators) {
      for (const rule of allRules()) terminal.print(operatorName(rule));
      return Promise.resolve(EXIT.ok);
    }
    const [path] = operands;
    if (path === undefined) {
      throw new UsageError(
        "graft inspect needs a model: `graft inspect MODEL`, a folder or an .onnx file",
      );
    }
    const file = findModelFile(path);
    using loaded = loadOnnx(file, openMapped);
    const { model, sizeBytes } = loaded;
    if (flags.graph) {
      terminal.print(formatGraph(model.graph));
      return Promise.resolve(EXIT.ok);
    }
    const { maxLength: longest } = readGenerationConfig(dirname(file));
    const length = given.has("maxSeqLength")
      ? flags.maxSeqLength
      : Math.min(flags.maxSeqLength, longest ?? Infinity);
    const options = {
      sizeBytes,
      rank: flags.rank,
      targetModules: flags.targetModules,
      batch: flags.batchSize,
      length,
      keepBytes: keepBudget(undefined, sizeBytes, freeBytes(), "exact", length),
      shards: processor().cores,
      passControl: passControlHere(),
    };
    if (flags.plan) {
      const plan = inspectPlan(model, options);
      if (flags.json) terminal.print(JSON.stringify({ path, ...plan }, null, 2));
      else for (const line of formatPlan(plan, plan.parts)) terminal.print(line);
      return Promise.resolve(EXIT.ok);
    }
    const found = inspectModel(model, options);
    const unsupported = Object.entries(found.operators).flatMap(([name]) =>
      model.graph.nodes.some((node) => operatorName(node) === name && findRule(node) === undefined)
        ? [name]
        : []
    );
    if (flags.json) {
      terminal.print(JSON.stringify({ path, ...found, unsupported }, null, 2));
      return Promise.resolve(EXIT.ok);
    }
    for (const line of formatInspection(path, found)) terminal.print(line);
    if (unsupported.length > 0) {
      terminal.print(`Operators that graft cannot train through: ${unsupported.join(", ")}`);
    }
    return Promise.resolve(EXIT.ok);
  },
});
