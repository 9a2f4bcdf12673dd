/**
 * Turns products with frozen weights into {@linkcode QuantizedLinear} operators: all of them in the `fast`
 * setting; in `exact`, those whose weights a file holds in 8 bits, with activations in 16.
 *
 * Weights that a file holds as int8 per channel, symmetric, are read as stored, or moved to uint8 once where
 * the device's fast products need that. All others are rounded once, before the first step, to 8 bits per
 * output channel by a small graph of their own (`weight_preprocessing.ts`): blocks of 4 or 8 bits, float
 * weights, integers with zero points.
 */
import { int, intAttribute } from "../graph/attributes.ts";
import type { GraphBuilder } from "../graph/builder.ts";
import { type CodeType, ZERO_POINTS } from "../graph/codes.ts";
import { dimsIn, typeIn } from "../graph/facts.ts";
import { shapeText } from "../graph/graph_text.ts";
import { prune } from "../graph/passes/prune.ts";
import { type DataType, ONNX_TYPE } from "../graph/dtype.ts";
import { elementCount, tensor } from "../graph/tensor.ts";
import type { Graph, Node, ValueInfo } from "../graph/types.ts";
import {
  quantizedLinearNode,
  type QuantizedLinearSpec,
  type Slices,
} from "../ops/internal/quantized_linear.ts";
import { rotate, rotationBlock, rotationNode } from "../ops/internal/rotation.ts";
import {
  type IntegerForm,
  isPaired,
  unpairedForm,
  weightType,
} from "../ops/internal/integer_form.ts";
import { transpose, transposedMatrix } from "../ops/transpose.ts";
import { pairedScales } from "../ops/internal/paired_rows.ts";
import { emitRowCodes, emitRowScales } from "../ops/internal/rounded_rows.ts";
import { type PreprocessedGraph, WeightPreprocessing } from "./weight_preprocessing.ts";
import { plainProduct } from "./plain_product.ts";
import type { PassControl } from "./planning_pass.ts";

/** Products with fewer rows or columns are left alone: rounding would cost more than it saves. */
const LEAST_WIDTH = 32;

export interface QuantizeLinears {
  /** Values whose products stay unchanged (a head that runs in chunks). */
  readonly except?: ReadonlySet<string>;
  /** How the products are computed; default `u8s8`. */
  readonly form?: IntegerForm;
  /** Whether weights that the file holds in 8 bits are rounded anew like all others; default false. */
  readonly rotated?: boolean;
  /**
   * Whether weights are also stored transposed, so that no call transposes them: all, or only those with more
   * inputs than outputs, which take longest to transpose for their size; default false.
   */
  readonly bothWays?: boolean | "deep";
  /**
   * Number of 8-bit slices that activations are rounded to; default 1. With 2, only products whose weights
   * the file holds in 8 bits change: rounding other weights would lose the precision that the slices keep.
   */
  readonly slices?: Slices;
  /** Which planning passes over the calls that round weights are left out. */
  readonly passControl?: PassControl;
}

/**
 * @param lowered graph of float operators
 * @param trainable initializers that training changes, whose products stay in floats
 */
export function quantizeLinears(
  lowered: Graph,
  trainable: ReadonlySet<string>,
  how: QuantizeLinears = {},
): PreprocessedGraph {
  const pass = new Pass(lowered, trainable, how);
  const { except } = how;
  const nodes = lowered.nodes.flatMap((node) =>
    except?.has(node.outputs[0]) ? [node] : pass.quantized(node) ?? [node]
  );
  const graph = prune({
    ...lowered,
    nodes,
    valueInfo: new Map([...lowered.valueInfo, ...pass.values.map((v) => [v.name, v] as const)]),
  });
  const read = new Set(graph.nodes.flatMap((node) => node.inputs));
  const preprocessing = pass.preprocessing.calls;
  const preprocessed = preprocessing.flatMap((call) => [...call.fetches.values()]);
  const given = new Set(preprocessed.filter((name) => read.has(name)));
  return {
    graph,
    preprocessing,
    preprocessed: given,
    readsStored: pass.readsStored,
  };
}

/** 8-bit weights of a product and their scales. */
export interface QuantizedWeight extends Omit<QuantizedLinearSpec, "x"> {
  /** Whether its rows are rotated in blocks, in which case x must be too. */
  readonly isRotated?: boolean;
}

/** A product x · W, where W is the value `right`: [N, K] if `transB`, else [K, N]. */
interface Product {
  readonly x: string;
  readonly right: string;
  readonly transB: boolean;
  readonly bias?: string;
}

class Pass {
  readonly values: ValueInfo[] = [];
  readonly preprocessing: WeightPreprocessing;
  /** Whether any product reads weights as stored in the file. */
  readsStored = false;
  readonly #lowered: Graph;
  readonly #form: IntegerForm;
  /** Type of the file's own integers where products read them. */
  readonly #storedType: CodeType;
  readonly #rotated: boolean;
  readonly #bothWays: boolean | "deep";
  readonly #slices: Slices;
  readonly #views = new Map<string, string>();
  readonly #rotations = new Set<string>();

  constructor(
    lowered: Graph,
    trainable: ReadonlySet<string>,
    { form = "u8s8", rotated = false, bothWays = false, slices = 1, passControl }: QuantizeLinears,
  ) {
    this.#lowered = lowered;
    this.#form = form;
    this.#storedType = weightType(unpairedForm(form));
    this.#rotated = rotated;
    this.#bothWays = bothWays;
    this.#slices = slices;
    this.preprocessing = new WeightPreprocessing(lowered, trainable, passControl);
  }

  /** The nodes that replace a product with a frozen weight; `undefined` for any other node. */
  quantized(node: Node): readonly Node[] | undefined {
    const product = this.#product(node);
    if (product === undefined) return undefined;
    const found = this.#weight(product.right, product.transB);
    if (found === undefined) return undefined;
    const { isRotated, ...weight } = found;
    const unified = this.#unified(product.x);
    const before = isRotated ? this.#rotation(unified) : [];
    const x = isRotated ? rotatedName(unified) : unified;
    const linear = quantizedLinearNode({ x, ...weight, slices: this.#slices });
    const [y] = node.outputs;
    if (product.bias === undefined) {
      return [...before, { ...linear, name: node.name, outputs: [y] }];
    }
    const unbiased = `${y}.unbiased`;
    this.values.push({ name: unbiased, type: this.#lowered.valueInfo.get(y)!.type });
    return [
      ...before,
      { ...linear, name: unbiased, outputs: [unbiased] },
      { ...node, opType: "Add", inputs: [unbiased, product.bias], attributes: {} },
    ];
  }

  /** One name for all views of a value in one shape, so that its rows are rounded only once. */
  #unified(x: string): string {
    const view = this.preprocessing.producers.get(x);
    if (view?.opType !== "Reshape") return x;
    const key = `${view.inputs[0]} ${shapeText(this.#dims(x))}`;
    const first = this.#views.get(key);
    if (first === undefined) this.#views.set(key, x);
    return first ?? x;
  }

  /** Rotates a value, unless an earlier product already reads it rotated. */
  #rotation(x: string): readonly Node[] {
    const name = rotatedName(x);
    if (this.#rotations.has(name)) return [];
    this.#rotations.add(name);
    const shape = this.#dims(x);
    this.values.push({ name, type: { dtype: "float32", shape } });
    return [{ ...rotationNode(x, rotationBlock(shape.at(-1)!)), name, outputs: [name] }];
  }

  #product(node: Node): Product | undefined {
    if (node.domain !== "") return undefined;
    const [x, right, bias = ""] = node.inputs;
    if (
      x === undefined || this.preprocessing.frozen.has(x) || !this.preprocessing.frozen.has(right)
    ) {
      return undefined;
    }
    let product: Product;
    if (node.opType === "MatMul") {
      const matrix = transposedMatrix(this.preprocessing.producers.get(right));
      const transB = matrix !== undefined && this.preprocessing.frozen.has(matrix);
      product = { x, right: transB ? matrix : right, transB };
    } else if (plainProduct(node) !== undefined) {
      const transB = intAttribute(node, "transB", 0) === 1;
      product = { x, right, transB, ...(bias === "" ? {} : { bias }) };
    } else return undefined;
    const dims = this.#dims(product.right);
    const floats = this.#dtype(x) === "float32" && this.#dtype(product.right) === "float32";
    return floats && dims.length === 2 && this.#dims(x).length >= 2 &&
        Math.min(...dims) >= LEAST_WIDTH
      ? product
      : undefined;
  }

  /**
   * The weight's own integers where the file holds int8 per channel; otherwise the weight rounded to that, if
   * such products may be rounded.
   */
  #weight(right: string, transB: boolean): QuantizedWeight | undefined {
    const stored = this.#rotated ? undefined : this.#storedWeight(right, transB);
    if (stored !== undefined) this.readsStored = true;
    return stored ?? (this.#slices === 1 ? this.#rounded(right, transB) : undefined);
  }

  #storedWeight(right: string, transB: boolean): QuantizedWeight | undefined {
    const node = this.preprocessing.producers.get(right);
    if (node?.opType !== "DequantizeLinear" || intAttribute(node, "block_size", 0) !== 0) {
      return undefined;
    }
    const [integers, scale, zeroPoint = ""] = node.inputs;
    const { initializers } = this.#lowered;
    const [codes, scales] = [initializers.get(integers), initializers.get(scale)];
    if (codes?.dtype !== "int8" || scales?.dtype !== "float32") return undefined;
    if (zeroPoint !== "" && !initializers.get(zeroPoint)?.bytes.every((byte) => byte === 0)) {
      return undefined;
    }
    const read = { ...this.#readable(integers, codes.dims), transB };
    if (elementCount(scales.dims) === 1) return { ...read, post: scale };
    const axis = intAttribute(node, "axis", 1);
    const onOutput = (axis < 0 ? axis + 2 : axis) === (transB ? 0 : 1);
    return onOutput ? { ...read, post: scale } : { ...read, pre: scale };
  }

  /** Integers of the file, as uint8 with another zero point where products need that, and transposed. */
  #readable(
    integers: string,
    dims: readonly number[],
  ): Pick<QuantizedWeight, "weight" | "transposed"> {
    const moves = this.#storedType !== "int8";
    const weight = moves ? `${integers}.${this.#storedType}` : integers;
    const transposedName = this.#transposedName(weight, dims);
    const names = [...(moves ? [weight] : []), ...(transposedName ? [transposedName] : [])];
    if (names.length > 0 && !this.preprocessing.has(integers)) {
      const about = { label: `${moves ? "unsigned" : "transposed"} ${integers}`, names };
      this.preprocessing.add(integers, about, (b, stored) => {
        const codes = moves ? unsigned(b, stored) : stored;
        return [...(moves ? [codes] : []), ...(transposedName ? [transpose(b, codes)] : [])];
      });
      if (moves) this.#declare(weight, this.#storedType, dims);
      if (transposedName) this.#declare(transposedName, this.#storedType, dims.toReversed());
    }
    return { weight, transposed: transposedName };
  }

  /** @param dims of the weight that the forward pass reads transposed: outputs, inputs */
  #transposedName(weight: string, [outputs, inputs]: readonly number[]): string | undefined {
    const wanted = this.#bothWays === "deep" ? inputs > outputs : this.#bothWays;
    return wanted ? transposedOf(weight) : undefined;
  }

  #declare(name: string, dtype: DataType, shape: readonly number[]): void {
    this.values.push({ name, type: { dtype, shape } });
  }

  #rounded(right: string, transB: boolean): QuantizedWeight {
    const [weight, post] = [`${right}.8bit`, `${right}.8bit_scale`];
    const [n, k] = transB ? this.#dims(right) : this.#dims(right).toReversed();
    const transposedName = this.#transposedName(weight, [n, k]);
    if (!this.preprocessing.has(right)) {
      const names = [weight, post, ...(transposedName ? [transposedName] : [])];
      const about = { label: `8-bit ${right}`, names, how: String(transB) };
      this.preprocessing.add(right, about, (b, matrix) => {
        const rows = transB ? matrix : transpose(b, matrix);
        const { codes, scale } = roundedRows(b, rows, this.#form);
        return [codes, scale, ...(transposedName ? [transpose(b, codes)] : [])];
      });
      const codes = weightType(this.#form);
      this.#declare(weight, codes, [n, k]);
      this.#declare(post, "float32", [n]);
      if (transposedName) this.#declare(transposedName, codes, [k, n]);
    }
    return {
      weight,
      transposed: transposedName,
      transB: true,
      post,
      isRotated: rotationBlock(k) > 1,
    };
  }

  #dims(value: string): readonly number[] {
    return dimsIn(this.#lowered, value);
  }

  #dtype(value: string): string | undefined {
    return typeIn(this.#lowered, value)?.dtype;
  }
}

const transposedOf = (weight: string) => `${weight}.transposed`;

const rotatedName = (x: string) => `${x}.rotated`;

/** int8 codes as uint8 around {@linkcode ZERO_POINTS}. */
function unsigned(b: GraphBuilder, codes: string): string {
  const zero = b.constant(
    tensor("int32", [], new Uint8Array(Int32Array.of(ZERO_POINTS.uint8).buffer)),
  );
  const wide = b.op("Cast", [codes], { to: int(ONNX_TYPE.int32) });
  return b.op("Cast", [b.op("Add", [wide, zero])], { to: int(ONNX_TYPE.uint8) });
}

/**
 * Rounds a matrix [N, K] to 8-bit rows, rotated along K ({@linkcode rotationBlock}).
 *
 * @returns codes [N, K], scales float32 [N]
 */
export function roundedRows(b: GraphBuilder, matrix: string, form: IntegerForm) {
  const rotated = rotate(b, matrix, rotationBlock(b.dims(matrix)[1]));
  const alone = emitRowScales(b, rotated);
  const scale = isPaired(form) ? pairedScales(b, rotated, alone) : alone;
  return { codes: emitRowCodes(b, rotated, scale, weightType(form)), scale };
}
