/** From the user's graph to the one that a step is made of, still in floats and in one piece. */
import { dimsIn } from "../graph/facts.ts";
import { elementCount } from "../graph/tensor.ts";
import type { Graph, Model } from "../graph/types.ts";
import { oncePerGraph } from "../graph/once_per_graph.ts";
import { verify } from "../graph/verify.ts";
import { rewriteDynamicQuantization } from "../ops/quantized/pattern.ts";
import { BadInputError } from "../errors.ts";
import { type Foldings, foldingsOf } from "./alike_blocks.ts";
import { bindInputs } from "./inputs.ts";
import { joinAdapters } from "./join_adapters.ts";
import { joinGates } from "./join_gates.ts";
import { lowerSource, trainingSource } from "./lower.ts";
import type { PlanOptions } from "./options.ts";
import { packTokens } from "./pack_tokens.ts";
import { scaleHidden } from "./scale_hidden.ts";
import { selectEarly } from "./select_early.ts";
import { selectTargetRows, TARGET_ROWS } from "./select_rows.ts";

/** A model's graph lowered at a batch's shape. */
export interface StepGraph {
  /** With padding computed like any token. */
  readonly padded: Graph;
  /** With as much padding left out as the options say. */
  readonly packed: Graph;
  /** Rows of logits that enter the loss. */
  readonly rows: number;
  /** Where the current of them is none, or they are absent, both graphs have all of the model's blocks. */
  readonly foldings?: Foldings;
  /** Which of the logits the graph computes: those of the target rows alone, or of every token. */
  readonly computes: "target rows" | "all rows";
}

/**
 * @throws {UnsupportedError} where an operator on the way is not supported
 * @throws {BadInputError} where the model has not the output that the loss reads
 */
export function stepGraph(model: Model, options: PlanOptions): StepGraph {
  const { output = "logits", targetRows, packedRows, trainable } = options;
  checkOutput(model.graph, output);
  const selected = targetRows === undefined ? undefined : withTargetRows(model.graph, output);
  const graph = selected ?? model.graph;
  const given = graph.inputs.filter(({ name }) => name !== TARGET_ROWS);
  const bound = bindInputs({ ...graph, inputs: given }, options);
  if (selected !== undefined) bound.set(TARGET_ROWS, { dtype: "int64", dims: [targetRows!] });
  const source = trainingSource(graph, [output]);
  const foldings = options.everyBlock ? undefined : foldingsOf(source, trainable);
  const lowered = lowerSource(foldings?.current?.graph ?? source, model, bound, {
    ...options,
    keepsAttention: packedRows !== undefined,
  });
  const padded = selected === undefined
    ? lowered
    : scaleHidden(selectEarly(lowered, options, targetRows!, trainable), trainable);
  const whole = packedRows === undefined
    ? padded
    : packTokens(padded, options, packedRows, trainable, {
      prefixSums: options.prefixSums,
      common: options.commonTokens,
      span: options.span,
    });
  const packed = joinGates(joinAdapters(whole, trainable));
  const logits = dimsIn(packed, packed.outputs[0].name);
  return {
    padded,
    packed,
    foldings,
    rows: targetRows ?? elementCount(logits.slice(0, -1)),
    computes: selected === undefined ? "all rows" : "target rows",
  };
}

/** The graph that computes logits of the target rows alone; `undefined` where its head does not allow it. */
const withTargetRows = oncePerGraph((graph, output) => {
  const selected = selectTargetRows(rewriteDynamicQuantization(graph), output);
  return selected && verify(selected, "selectTargetRows()");
});

function checkOutput({ outputs }: Graph, output: string): void {
  if (outputs.some(({ name }) => name === output)) return;
  throw new BadInputError(
    `Cannot train: the model has no output "${output}": its outputs are ${
      outputs.map(({ name }) => name).join(", ")
    }`,
  );
}
