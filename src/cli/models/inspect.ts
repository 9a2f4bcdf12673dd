/** `graft inspect`: what a model is made of and what adapting it would take. */
import { EXIT, UsageError } from "../../errors.ts";
import { formatGraph } from "../../graph/print.ts";
import { operatorName } from "../../graph/types.ts";
import { findModelFile } from "../../model/find_model.ts";
import { loadOnnx } from "../../model/load_onnx.ts";
import { allRules } from "../../ops/registry.ts";
import { openMapped } from "../../system/mapped_file.ts";
import {
  inspect,
  INSPECT_PARAMETERS as P,
  INSPECTED_LENGTH,
  inspectPlan,
} from "../../tasks/inspect.ts";
import { command } from "../command.ts";
import { boolean, integer, list } from "../flags.ts";
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
      ...P.rank,
    }),
    targetModules: list("Modules of that adapter; q,v if absent"),
    batchSize: integer("Rows per batch of the run to predict", P.batchSize),
    maxSeqLength: integer("Tokens per row of the run to predict, or as many as the model takes", {
      ...P.maxSeqLength,
      default: INSPECTED_LENGTH,
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
    if (flags.graph) {
      using loaded = loadOnnx(findModelFile(path), openMapped);
      terminal.print(formatGraph(loaded.model.graph));
      return Promise.resolve(EXIT.ok);
    }
    const config = {
      model: path,
      rank: flags.rank,
      targetModules: flags.targetModules,
      batchSize: flags.batchSize,
      maxSeqLength: given.has("maxSeqLength") ? flags.maxSeqLength : undefined,
    };
    if (flags.plan) {
      const plan = inspectPlan(config);
      if (flags.json) terminal.print(JSON.stringify({ path, ...plan }, null, 2));
      else for (const line of formatPlan(plan, plan.parts)) terminal.print(line);
      return Promise.resolve(EXIT.ok);
    }
    const { unsupported, ...found } = inspect(config);
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
