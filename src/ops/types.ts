/**
 * What graft must know of an operator to train through it.
 *
 * One operator a file, one registry line each. All shapes are concrete: a training graph is
 * compiled for each batch size and sequence length, so broadcasting and reshaping are settled
 * when the graph is built and never at run time.
 */
import type { GraphBuilder, Known } from "../graph/builder.ts";
import type { Node } from "../graph/types.ts";
import { BadInputError } from "../errors.ts";

/** Operator-set versions that nodes were written against; `""` is ONNX's own. */
export interface OpsetContext {
  /** Version of the domain the node belongs to. */
  readonly opset: number;
}

/** Where the nodes of a subgraph take the place of the node that holds it. */
export interface Inlining extends OpsetContext {
  /** What is known there of a value of the user's graph. */
  known(value: string): Known;
  /**
   * Puts nodes of the user's graph there, after those put before.
   *
   * @param results what is read of them later
   * @throws {UnsupportedError} where these are more nodes than a graph should have
   */
  emit(nodes: readonly Node[], results: readonly string[]): void;
}

export interface OpRule {
  readonly opType: string;
  /** `""` for ONNX, `"com.microsoft"` for ONNX Runtime's own. */
  readonly domain: string;
  /** First operator set of its domain that the rule is for; 1 where absent. */
  readonly since?: number;
  /** What the table of supported operators says beside it. */
  readonly remark?: string;

  /**
   * Types, shapes and, where they are small constants, contents of all outputs.
   *
   * @throws {RangeError | SyntaxError} where inputs or attributes do not fit the operator, naming them
   */
  infer(
    node: Node,
    inputs: readonly (Known | undefined)[],
    context: OpsetContext,
  ): readonly Known[];

  /**
   * Rewrites a node of the user's graph for training: fused operators into those that have a `vjp`,
   * old operator-set forms into the training operator set's ({@linkcode TRAINING_OPSET}).
   *
   * @returns names of the values that stand for the node's outputs ("" for one that nothing needs),
   *   or `undefined` to keep the node as it is
   * @throws {UnsupportedError} for an attribute or optional input graft does not implement
   */
  lower?(
    b: GraphBuilder,
    node: Node,
    context: OpsetContext & { readonly needed: readonly boolean[] },
  ): readonly string[] | undefined;

  /**
   * Puts nodes of its subgraphs in the place of a node of the user's graph, for operators that have
   * some: they define its outputs.
   *
   * @throws {UnsupportedError} where data decides which nodes, or how often
   */
  inline?(node: Node, at: Inlining): void;

  /**
   * Vector-Jacobian product: emits the cotangents of the inputs.
   *
   * @param cotangents one per output; `undefined` where no gradient arrives (at least one does)
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

  /**
   * Emits the nodes that compute an operator which only graft's own graphs hold
   * (domain `graft`); done when a session's graph is finished. They define the node's outputs.
   */
  expand?(b: GraphBuilder, node: Node): void;
}

/**
 * The operator set of every graph graft builds for training. ONNX Runtime 1.18, the oldest release
 * supported, implements it.
 */
export const TRAINING_OPSET = 21;

/** A node that graft cannot train through; the message names the node, the operator and a way out. */
export class UnsupportedError extends BadInputError {
  override name = "UnsupportedError";
}
