/**
 * What graft must know about an operator to train through it.
 *
 * One operator per file, one line each in `standard.ts`, `contrib.ts` or `internal.ts`; nothing else names
 * it. Its traits answer what passes ask (`traits.ts`): `elementwise()`, `rowByRow()` and `mixed()` make those
 * of an operator that training graphs may hold, and one that is always lowered or inlined states its kind and
 * its rows. All shapes are concrete: a training graph is compiled for each batch size and sequence length, so
 * broadcasting and reshaping are settled when the graph is built and never at run time.
 */
import type { GraphBuilder, Known } from "../graph/builder.ts";
import type { Node } from "../graph/types.ts";
import type { AttentionForm } from "./contrib/attention_form.ts";
import type { DequantForm } from "./dequant_form.ts";
import { BadInputError } from "../errors.ts";
import type { FileTraits, Traits } from "./traits.ts";

/** Operator-set versions that nodes were written against; `""` is ONNX's own. */
export interface OpsetContext {
  /** Version of the domain that the node belongs to. */
  readonly opset: number;
}

/** How a graph is lowered. */
export interface LoweringContext extends OpsetContext {
  /** Whether each of the node's outputs is read. */
  readonly needed: readonly boolean[];
  /** How 4- and 8-bit blocks are dequantised; default `gather_block`. */
  readonly dequantForm?: DequantForm;
  /** How attention is emitted; default: directly, in blocks of queries. */
  readonly attention?: AttentionForm;
}

/** Where the nodes of a subgraph replace the node that holds it. */
export interface Inlining extends OpsetContext {
  /** What is known there about a value of the user's graph. */
  known(value: string): Known;
  /**
   * Adds nodes of the user's graph there, after those added before.
   *
   * @param results those of their values that are read later
   * @throws {UnsupportedError} if this gives more nodes than a graph should have
   */
  emit(nodes: readonly Node[], results: readonly string[]): void;
}

/** A count: an exact number, a range, or a minimum. */
export type Count = `${number}` | `${number}..${number}` | `${number}..`;

/** What is stated about every operator. */
interface Operator {
  readonly opType: string;
  /** `""` for ONNX, `"com.microsoft"` for ONNX Runtime's own. */
  readonly domain: string;
  /** First operator set of its domain that the rule is for; ONNX's of 7 and before count as 7. */
  readonly since: number;
  /** Attributes that the rule reads, or that change nothing graft computes; any other is refused by name. */
  readonly attributes: readonly string[];
  /** Number of inputs that it has in any operator set, optional ones included. */
  readonly inputs: Count;
  readonly outputs: Count;
  /** The remark on it in the table of supported operators. */
  readonly remark?: string;

  /**
   * Types, shapes and, if they are small constants, contents of all outputs.
   *
   * @throws {RangeError | SyntaxError} if inputs or attributes do not fit the operator, naming them
   */
  infer(
    node: Node,
    inputs: readonly (Known | undefined)[],
    context: OpsetContext,
  ): readonly Known[];
}

/**
 * An operator of models that no training graph holds: it is always replaced by others. Planning asks nothing
 * about it but what concerns the model's own graph.
 */
export interface LoweredRule extends Operator {
  readonly traits: FileTraits;

  /**
   * Rewrites a node of the user's graph for training.
   *
   * @returns names of the values that replace the node's outputs ("" for one that nothing needs)
   * @throws {UnsupportedError} for an attribute or optional input that graft does not implement
   */
  lower(b: GraphBuilder, node: Node, context: LoweringContext): readonly string[];

  inline?: undefined;
  vjp?: undefined;
  blocksGradient?: undefined;
  expand?: undefined;
}

/** An operator with subgraphs, whose nodes replace it: no training graph holds it. */
export interface InlinedRule extends Operator {
  readonly traits: FileTraits;

  /**
   * Replaces a node of the user's graph by nodes of its subgraphs, which define its outputs.
   *
   * @throws {UnsupportedError} if data decides which nodes, or how often
   */
  inline(node: Node, at: Inlining): void;

  lower?: undefined;
  vjp?: undefined;
  blocksGradient?: undefined;
  expand?: undefined;
}

/** An operator that training graphs may hold. */
export interface TrainingRule extends Operator {
  readonly traits: Traits;

  /**
   * Rewrites a node of the user's graph for training: fused operators into those that have a `vjp`,
   * old operator-set forms into the training operator set's ({@linkcode TRAINING_OPSET}).
   *
   * @returns names of the values that replace the node's outputs ("" for one that nothing needs), or
   *   `undefined` to keep the node as it is
   * @throws {UnsupportedError} for an attribute or optional input that graft does not implement
   */
  lower?(b: GraphBuilder, node: Node, context: LoweringContext): readonly string[] | undefined;

  /**
   * Vector-Jacobian product: emits the cotangents of the inputs.
   *
   * @param cotangents one per output; `undefined` if no gradient arrives (at least one does)
   * @param wanted one per input; only these need a cotangent
   * @returns one per input, `undefined` for "no gradient" (integer inputs, unwanted ones); each has
   *   exactly its input's shape
   */
  vjp?(
    b: GraphBuilder,
    node: Node,
    cotangents: readonly (string | undefined)[],
    wanted: readonly boolean[],
  ): readonly (string | undefined)[];

  /** Whether outputs do not depend on inputs as far as gradients go; it then needs no `vjp`. */
  readonly blocksGradient?: boolean;

  /**
   * Emits the nodes that compute an operator which only graft's own graphs hold (domain `graft`); called when
   * a session's graph is finished. They define the node's outputs.
   */
  expand?(b: GraphBuilder, node: Node): void;

  inline?: undefined;
}

/** Everything that graft knows about an operator. */
export type OpRule = InlinedRule | LoweredRule | TrainingRule;

/**
 * The operator set of every graph that graft builds for training. ONNX Runtime 1.18, the oldest supported
 * release, implements it.
 */
export const TRAINING_OPSET = 21;

/** A node that graft cannot train through; the message names the node, the operator and a way out. */
export class UnsupportedError extends BadInputError {
  override name = "UnsupportedError";
}
