/**
 * Lowers a user's graph to the operators that graft differentiates, over known shapes.
 *
 * Inference still runs the user's graph; the lowered one is used only for training.
 */
import { GraphBuilder } from "../graph/builder.ts";
import { extentsOf } from "../graph/extents.ts";
import type { Extent } from "../graph/size.ts";
import type { Tensor } from "../graph/tensor.ts";
import { oncePerGraph } from "../graph/once_per_graph.ts";
import { prune, readBy } from "../graph/passes/prune.ts";
import { quantizeConstants } from "../graph/passes/quantize_constants.ts";
import { type Graph, type Model, type Node, operatorName } from "../graph/types.ts";
import type { DequantForm } from "../ops/dequant_form.ts";
import { constantsAsInitializers } from "../ops/constant.ts";
import { inferTraining, ruleOf } from "../ops/registry.ts";
import type { LoweringContext } from "../ops/types.ts";
import { rewriteDynamicQuantization } from "../ops/quantized/pattern.ts";
import { type OpRule, UnsupportedError } from "../ops/types.ts";
import { BadInputError, GraftError } from "../errors.ts";
import { emitAttend } from "../ops/internal/attend.ts";
import { emitDropoutMask } from "../ops/internal/dropout_mask.ts";
import { UnlikeBlocksError } from "./alike_blocks.ts";
import { DROPOUT_SEED, MASK_SUFFIX, saltName, saltOf } from "./dropout.ts";
import { inFullPrecision, isHalf } from "./full_precision.ts";
import { fuse } from "./fuse.ts";
import type { BoundInput } from "./inputs.ts";
import { ownValue } from "../records.ts";

/**
 * A node's operands do not fit each other at the requested shapes: the model has no positions for so many
 * tokens, or is invalid.
 */
export class ShapeError extends BadInputError {
  override name = "ShapeError";
}

/** How training differs from inference. */
export interface LowerOptions {
  /** Initializers that training changes, so that nothing computed from them may be folded. */
  readonly trainable?: ReadonlySet<string>;
  /** Probability that LoRA dropout zeroes an entry; 0 (the default) drops nothing. */
  readonly dropout?: number;
  /** How 4- and 8-bit blocks are dequantised; default `gather_block`. */
  readonly dequantForm?: DequantForm;
  /** Number of tokens that all sequences begin with and that causal attention computes once; default 0. */
  readonly commonTokens?: Extent;
  /** Whether attention stays in one piece, for packing tokens later; default false. */
  readonly keepsAttention?: boolean;
}

/**
 * @param model the user's model, adapters injected
 * @param bound type of every input (from `bindInputs`)
 * @param outputs which of the user's outputs to keep
 * @throws {UnsupportedError} where an operator or one of its attributes is not supported, naming the node
 * @throws {ShapeError} where a node's operands do not fit each other at these shapes
 */
export function lowerForTraining(
  model: Model,
  bound: ReadonlyMap<string, BoundInput>,
  outputs: readonly string[],
  options: LowerOptions = {},
): Graph {
  return fuse(lowerSource(trainingSource(model.graph, outputs), model, bound, options));
}

/**
 * The part of a graph that some outputs need, in float32 and without dynamic quantisation: the input of
 * {@linkcode lowerSource}. Equal arguments give the same graph.
 */
export function trainingSource(graph: Graph, outputs: readonly string[]): Graph {
  return sourceFor(graph, JSON.stringify(outputs));
}

/**
 * Lowers a graph from {@linkcode trainingSource}. What an exporter took apart is not fused here
 * ({@linkcode fuse}).
 */
export function lowerSource(
  source: Graph,
  model: Pick<Model, "opsets">,
  bound: ReadonlyMap<string, BoundInput>,
  options: LowerOptions = {},
): Graph {
  const b = new GraphBuilder(inferTraining);
  const forms = {
    dequantForm: options.dequantForm,
    attention: {
      common: options.commonTokens,
      emit: options.keepsAttention ? emitAttend : undefined,
    },
  };
  for (const { name } of source.inputs) {
    if (source.initializers.has(name)) continue;
    if (name.endsWith(MASK_SUFFIX)) continue;
    const given = bound.get(name);
    if (given === undefined) throw new ReferenceError(`Input "${name}" is not bound`);
    const input = isHalf(given.dtype) ? { ...given, dtype: "float32" as const } : given;
    // An empty cache is a constant: whatever reads only its shape is folded away.
    if (extentsOf(input.dims).includes(0)) b.initializer(name, emptyTensor(input));
    else b.input(name, input.dtype, input.dims);
  }
  for (const [name, value] of source.initializers) {
    if (options.trainable?.has(name)) b.variable(name, value);
    else b.initializer(name, value);
  }

  const names = new Map<string, string>();
  const lowering = { b, opsets: model.opsets, names, inlined: { count: 0 }, forms };
  const read = new Set(source.outputs.map((output) => output.name));
  for (const node of source.nodes) for (const input of readBy(node)) read.add(input);
  for (const node of source.nodes) {
    for (const input of node.inputs) {
      if (!input.endsWith(MASK_SUFFIX) || names.has(input)) continue;
      emitMask(b, input, node, options.dropout ?? 0, names);
    }
    lowerNode(lowering, node, read);
  }

  const graph = b.build(
    source.name,
    source.outputs.map((output) => names.get(output.name) ?? output.name),
  );
  return prune(graph);
}

const sourceFor = oncePerGraph((graph, names) => {
  const outputs: readonly string[] = JSON.parse(names);
  const wanted = graph.outputs.filter(({ name }) => outputs.includes(name));
  const needed = quantizeConstants(constantsAsInitializers(prune({ ...graph, outputs: wanted })));
  return prune(rewriteDynamicQuantization(inFullPrecision(needed)));
});

/** Defines a mask input of the injected graph: computed from the seed, or ones without dropout. */
function emitMask(
  b: GraphBuilder,
  mask: string,
  reader: Node,
  probability: number,
  names: Map<string, string>,
): void {
  if (probability === 0) names.set(mask, b.scalar(1));
  else {
    if (!b.has(DROPOUT_SEED)) b.input(DROPOUT_SEED, "int64", []);
    const masked = reader.inputs.find((input) => input !== mask)!;
    const x = names.get(masked) ?? masked;
    const salt = b.initializer(saltName(mask), saltOf(saltName(mask)));
    names.set(mask, emitDropoutMask(b, { x, seed: DROPOUT_SEED, salt, probability }));
  }
}

/** The graph under construction, and what is known of it so far. */
interface Lowering {
  readonly b: GraphBuilder;
  readonly opsets: Model["opsets"];
  /** Names that differ from those of the user's graph. */
  readonly names: Map<string, string>;
  /** Number of nodes that were inlined from subgraphs. */
  readonly inlined: { count: number };
  /** How every node is lowered. */
  readonly forms: Pick<LoweringContext, "dequantForm" | "attention">;
}

/** A set of names, as far as membership goes. */
type Names = Pick<ReadonlySet<string>, "has">;

/** Most nodes that subgraphs may be inlined to: some thousand steps of a recurrence. */
const MOST_INLINED = 2 ** 16;

function inlineNode(
  lowering: Lowering,
  node: Node,
  read: Names,
  inline: NonNullable<OpRule["inline"]>,
): void {
  const { b, opsets, names, inlined } = lowering;
  inline(node, {
    opset: ownValue(opsets, node.domain) ?? 1,
    known: (value) => b.known(names.get(value) ?? value),
    emit(nodes, results) {
      // One more, so that bodies without nodes also come to an end.
      inlined.count += nodes.length + 1;
      if (inlined.count > MOST_INLINED) {
        throw new UnsupportedError(
          `Cannot train through node "${node.name}": unrolled, ${operatorName(node)} is more ` +
            `than ${MOST_INLINED} nodes; train on shorter sequences, or export the model without it`,
        );
      }
      const own = new Set([...results, ...nodes.flatMap((each) => [...readBy(each)])]);
      const readInside = { has: (name: string) => own.has(name) || read.has(name) };
      for (const each of nodes) lowerNode(lowering, each, readInside);
    },
  });
}

function lowerNode(lowering: Lowering, node: Node, read: Names): void {
  const { b, opsets, names, forms } = lowering;
  try {
    const rule = ruleOf(node);
    if (rule.inline !== undefined) return inlineNode(lowering, node, read, rule.inline);
    const renamed: Node = {
      ...node,
      inputs: node.inputs.map((name) => names.get(name) ?? name),
      rest: undefined,
    };
    const opset = ownValue(opsets, node.domain) ?? 1;
    const needed = node.outputs.map((output) => output !== "" && read.has(output));
    const lowered = rule.lower?.(b, renamed, { opset, needed, ...forms });
    if (lowered === undefined) b.add(renamed);
    else {
      node.outputs.forEach((output, i) => {
        if (output !== "" && lowered[i] !== undefined && lowered[i] !== "") {
          names.set(output, lowered[i]);
        }
      });
    }
  } catch (error) {
    if (error instanceof GraftError || error instanceof UnlikeBlocksError) throw error;
    const message = error instanceof Error ? error.message : String(error);
    // Rules throw a RangeError where shapes do not fit.
    const Refusal = error instanceof RangeError ? ShapeError : BadInputError;
    throw new Refusal(`Cannot lower node "${node.name}" (${operatorName(node)}): ${message}`, {
      cause: error,
    });
  }
}

function emptyTensor({ dtype, dims }: BoundInput): Tensor {
  return { dtype, dims, bytes: new Uint8Array(0) };
}
