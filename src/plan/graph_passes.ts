/** The planning passes from the user's graph to the one that is cut into calls, in order. */
import { constantValues } from "../graph/passes/constants.ts";
import { asDims } from "../graph/extents.ts";
import { oncePerGraph } from "../graph/once_per_graph.ts";
import type { Graph, Model } from "../graph/types.ts";
import { rewriteDynamicQuantization } from "../ops/quantized/pattern.ts";
import { type FoldedBlocks, foldedBlocks } from "./alike_blocks.ts";
import { IN_FLOATS, numericOf } from "./arithmetic.ts";
import { type ChunkableHead, findChunkableHead, wideProducts } from "./chunkable_head.ts";
import { fuse } from "./fuse.ts";
import { HEAD_CHUNK } from "./head_chunks.ts";
import { bindInputs } from "./inputs.ts";
import { joinAdapters } from "./join_adapters.ts";
import { joinGates } from "./join_gates.ts";
import { keepSlopes } from "./keep_slopes.ts";
import { lowerSource, trainingSource } from "./lower.ts";
import type { SizedOptions } from "./options.ts";
import { packTokens } from "./pack_tokens.ts";
import { applyPasses, type PlanningPass } from "./planning_pass.ts";
import { type QuantizeLinears, quantizeLinears } from "./quantize_linears.ts";
import { scaleHidden } from "./scale_hidden.ts";
import { selectEarly } from "./select_early.ts";
import { selectTargetRows, TARGET_ROWS } from "./select_rows.ts";
import { unpackWeights } from "./unpack_weights.ts";
import type { PreprocessedGraph } from "./weight_preprocessing.ts";

/** A model's graph on its way to being cut. */
export interface StepGraph extends PreprocessedGraph {
  /** The graph before its tokens were packed, with padding computed like any token. */
  readonly padded: Graph;
  /** The graph before weight preprocessing, whose calls read its initializers; absent where there is none. */
  readonly unprocessed?: Graph;
  /** Which logits it computes: only those of the target rows, or of every token. */
  readonly computes: "target rows" | "all rows";
  /** Absent where the graph has all of the model's blocks. */
  readonly folded?: FoldedBlocks;
  /** A language model's head that runs in chunks; no pass after `chunk-head` changes it. */
  readonly head?: ChunkableHead;
}

/** What is known when a graph is planned. */
export interface GraphPassContext {
  readonly model: Model;
  readonly options: SizedOptions;
}

export type GraphPass = PlanningPass<StepGraph, GraphPassContext>;

export const GRAPH_PASSES: readonly GraphPass[] = [
  {
    name: "select-rows",
    does: "computes a language model's logits only for rows that have a target",
    isOptional: true,
    apply(step, { options: { targetRows, output = "logits" } }) {
      const selected = targetRows === undefined ? undefined : withTargetRows(step.graph, output);
      return selected === undefined ? step : { ...whole(step, selected), computes: "target rows" };
    },
  },
  {
    name: "simplify",
    does: "takes the part that the loss needs, in float32, without rounding of activations",
    isOptional: false,
    apply: (step, { options: { output = "logits" } }) =>
      whole(step, trainingSource(step.graph, [output])),
  },
  {
    name: "fold-blocks",
    does: "leaves all but three of a model's alike blocks out of what is planned",
    isOptional: true,
    apply(step, { options: { trainable } }) {
      const folded = foldedBlocks(step.graph, trainable);
      return folded === undefined ? step : { ...whole(step, folded.graph), folded };
    },
  },
  {
    name: "lower",
    does: "rebuilds the graph over the batch's sizes from operators that have a derivative",
    isOptional: false,
    apply(step, { model, options }) {
      const bound = bindInputs(model.graph, options);
      if (step.computes === "target rows") {
        bound.set(TARGET_ROWS, { dtype: "int64", dims: asDims([options.targetRows!]) });
      }
      const { arithmetic = IN_FLOATS, trainable, dropout, commonTokens } = options;
      const { dequantForm } = arithmetic;
      const keepsAttention = options.packedRows !== undefined;
      const how = { trainable, dropout, commonTokens, dequantForm, keepsAttention };
      return whole(step, lowerSource(step.graph, model, bound, how));
    },
  },
  {
    name: "fuse",
    does: "fuses normalisations, GELU and SiLU that an exporter took apart",
    isOptional: true,
    apply: (step) => whole(step, fuse(step.graph)),
  },
  {
    name: "select-early",
    does: "computes what follows the last attention only for the target rows",
    isOptional: true,
    apply: (step, { options }) =>
      step.computes === "all rows" ? step : whole(
        step,
        selectEarly(step.graph, options, options.targetRows!, options.trainable),
      ),
  },
  {
    name: "scale-hidden",
    does: "multiplies the hidden state by a factor instead of the logits",
    isOptional: true,
    apply: (step, { options: { trainable } }) =>
      step.computes === "all rows" ? step : whole(step, scaleHidden(step.graph, trainable)),
  },
  {
    name: "pack-tokens",
    does: "leaves padding out of operators that treat tokens one by one",
    isOptional: true,
    apply(step, { options }) {
      const { packedRows, trainable, prefixSums, commonTokens: common, span } = options;
      if (packedRows === undefined) return step;
      const packing = { prefixSums, common, span };
      return { ...step, graph: packTokens(step.graph, options, packedRows, trainable, packing) };
    },
  },
  {
    name: "join-adapters",
    does: "multiplies an activation by the A of all adapters that read it in one product",
    isOptional: true,
    apply: (step, { options: { trainable } }) => ({
      ...step,
      graph: joinAdapters(step.graph, trainable),
    }),
  },
  {
    name: "join-gates",
    does: "fuses a gate's SiLU with the multiplication that follows it",
    isOptional: true,
    apply: (step) => ({ ...step, graph: joinGates(step.graph) }),
  },
  {
    name: "chunk-head",
    does: "finds a language model's head that can run in chunks of its vocabulary",
    isOptional: true,
    apply(step, { options: { trainable, headChunk = HEAD_CHUNK } }) {
      if (step.computes === "all rows") return step;
      const { graph } = step;
      return {
        ...step,
        head: findChunkableHead(graph, constantValues(graph), trainable, headChunk),
      };
    },
  },
  {
    name: "quantize-linears",
    does: "computes products with frozen weights in 8-bit integers, where the arithmetic says so",
    isOptional: false,
    apply(step, { options }) {
      const { products, readyWeights: bothWays } = options.arithmetic ?? IN_FLOATS;
      if (products.in === "floats") return step;
      const { form } = products;
      if (products.in === "8-bit integers") {
        const { rotated } = products;
        return preprocessed(step, inIntegers(step, options, { form, rotated, bothWays }));
      }
      const quantized = inIntegers(step, options, { form, slices: 2 });
      return quantized.readsStored ? preprocessed(step, quantized) : step;
    },
  },
  {
    name: "keep-slopes",
    does: "keeps the slopes of activation functions in 8 bits, instead of what they follow from",
    isOptional: true,
    apply: (step, { options: { arithmetic = IN_FLOATS } }) =>
      numericOf(arithmetic) === "fast" ? { ...step, graph: keepSlopes(step.graph) } : step,
  },
  {
    name: "unpack-weights",
    does: "unpacks packed weights once, before the first step, where memory allows",
    isOptional: true,
    apply(step, { options: { arithmetic = IN_FLOATS, trainable, passControl } }) {
      const inIntegers = numericOf(arithmetic) === "fast" || step.readsStored;
      if (arithmetic.readyWeights !== true || inIntegers) return step;
      const except = new Set(step.head?.preparing);
      return preprocessed(step, unpackWeights(step.graph, trainable, except, passControl));
    },
  },
];

/** Applies {@linkcode GRAPH_PASSES} to a model's graph. */
export function stepGraph(model: Model, options: SizedOptions): StepGraph {
  const { without, onPass } = options.passControl ?? {};
  const start: StepGraph = {
    graph: model.graph,
    padded: model.graph,
    computes: "all rows",
    preprocessing: [],
    preprocessed: new Set(),
  };
  return applyPasses(
    GRAPH_PASSES,
    start,
    { model, options },
    without,
    onPass && ((pass, { graph, preprocessed: given }) => onPass({ pass, graph, given })),
  );
}

/** Replaces the graph by another whose padding is computed like any token. */
const whole = (step: StepGraph, graph: Graph): StepGraph => ({ ...step, graph, padded: graph });

const preprocessed = (step: StepGraph, made: PreprocessedGraph): StepGraph => ({
  ...step,
  ...made,
  unprocessed: step.graph,
});

/**
 * Puts products into integers. A head in chunks prepares its weight itself. A wide head that is not in chunks
 * stays in floats: rounded like any layer, it would lose the gradient of a softmax.
 */
function inIntegers(
  { graph, head }: StepGraph,
  { trainable, headChunk = HEAD_CHUNK, passControl }: SizedOptions,
  how: Pick<QuantizeLinears, "form" | "rotated" | "bothWays" | "slices">,
): PreprocessedGraph {
  const except = head ? new Set([head.product]) : wideProducts(graph, headChunk);
  return quantizeLinears(graph, trainable, { except, passControl, ...how });
}

/** The graph that computes logits of the target rows only; `undefined` where its head does not allow it. */
const withTargetRows = oncePerGraph((graph, output) =>
  selectTargetRows(rewriteDynamicQuantization(graph), output)
);
