/**
 * The ways in which a training step can multiply activations with a stored weight, each as a graph of one
 * product: y [tokens, rows] = x [tokens, columns] · wᵀ. Weights are graph inputs, as in training, so that
 * nothing is packed or folded before the first run.
 */
import { int } from "../graph/attributes.ts";
import type { DataType } from "../graph/dtype.ts";
import { GraphBuilder } from "../graph/builder.ts";
import type { Graph } from "../graph/types.ts";
import { dequantizeBlocks } from "../ops/dequantize.ts";
import { DEQUANT_FORMS, type DequantForm } from "../ops/dequant_form.ts";
import {
  activationType,
  INTEGER_FORMS,
  type IntegerForm,
  isPaired,
  weightType,
} from "../ops/internal/integer_form.ts";
import { emitQuantizedLinear } from "../ops/internal/quantized_linear.ts";
import { inferTraining } from "../ops/registry.ts";
import { expand } from "../plan/expand.ts";
import { signedGraph } from "../plan/signed_activations.ts";

/** A weight matrix and how it is stored. */
export interface StoredShape {
  /** Outputs of the layer. */
  readonly rows: number;
  /** Inputs of the layer. */
  readonly columns: number;
  /** Bits of a stored weight; 16 and 32 are floats. */
  readonly bits: number;
  /** Weights along a row that share a scale, packed as MatMulNBits packs them; absent for other storage. */
  readonly blockSize?: number;
}

/** Builds the product of one form; the inputs' names tell what they are filled with. */
type Emit = (b: GraphBuilder, shape: StoredShape, tokens: number) => string;

export interface KernelForm {
  readonly name: string;
  /** One line for people. */
  readonly about: string;
  /** Storage that the form reads; absent if the weights would be converted once, before training. */
  readonly storage?: "blocks" | "rows";
  /** How its products in 8-bit integers are rounded; absent if it multiplies floats. */
  readonly integers?: IntegerForm;
  readonly emit: Emit;
}

const activations = (b: GraphBuilder, dtype: DataType, { columns }: StoredShape, tokens: number) =>
  b.input(`x.${dtype}`, dtype, [tokens, columns]);

function packedBlocks(b: GraphBuilder, shape: StoredShape) {
  const { rows, columns, bits, blockSize } = shape;
  const blocks = Math.ceil(columns / blockSize!);
  return {
    data: b.input("w.packed", "uint8", [rows, blocks, blockSize! * bits / 8]),
    scales: b.input("scales", "float32", [rows, blocks]),
  };
}

function matMulNBits(accuracyLevel: number): Emit {
  return (b, shape, tokens) => {
    const { data, scales } = packedBlocks(b, shape);
    return b.microsoft("MatMulNBits", [activations(b, "float32", shape, tokens), data, scales], {
      K: int(shape.columns),
      N: int(shape.rows),
      bits: int(shape.bits),
      block_size: int(shape.blockSize!),
      accuracy_level: int(accuracyLevel),
    });
  };
}

function integerProduct(form: IntegerForm): Emit {
  const [left, right] = [activationType(form), weightType(form)];
  return (b, shape, tokens) =>
    b.microsoft("MatMulIntegerToFloat", [
      activations(b, left, shape, tokens),
      b.input("w.columns", right, [shape.columns, shape.rows]),
      b.input("scale", "float32", []),
      b.input("scales", "float32", [shape.rows]),
      b.input("x.zero", left, []),
      b.input("w.zero", right, []),
    ]);
}

/** The product as a training step in `exact` computes it, from float activations to the float result. */
function slicedProduct(form: IntegerForm): Emit {
  return (b, shape, tokens) =>
    emitQuantizedLinear(b, {
      x: activations(b, "float32", shape, tokens),
      weight: b.input("w.columns", weightType(form), [shape.columns, shape.rows]),
      transB: false,
      post: b.input("scales", "float32", [shape.rows]),
      slices: 2,
    });
}

const gemm = (b: GraphBuilder, x: string, weight: string) =>
  b.op("Gemm", [x, weight], { transB: int(1) });

/** Name of the form that dequantises in a given way. */
export const dequantKernel = (form: DequantForm) => `dequantize_${form}`;

/** The forms of products with weights as stored. */
export const SLICED_FORMS = INTEGER_FORMS.filter((form) => !isPaired(form));

/** Name of the form that multiplies slices of activations in a form of 8-bit integers. */
export const slicedKernel = (form: IntegerForm) => `${form}_sliced`;

/** The form that {@linkcode slicedKernel} forms replace. */
export const FLOAT_ROWS = "dequantize_linear";

/** The form that products in integers are compared with. */
export const FLOATS = "fp32_gemm";

/** All forms; a shape can use those of its storage. */
export const KERNEL_FORMS: readonly KernelForm[] = [
  {
    name: FLOATS,
    about: "Gemm over float weights",
    emit: (b, shape, tokens) =>
      gemm(
        b,
        activations(b, "float32", shape, tokens),
        b.input("w.float", "float32", [shape.rows, shape.columns]),
      ),
  },
  ...DEQUANT_FORMS.map((form): KernelForm => ({
    name: dequantKernel(form),
    about: `blocks dequantised by ${form}, then Gemm`,
    storage: "blocks",
    emit: (b, shape, tokens) => {
      const blocks = packedBlocks(b, shape);
      const bits = shape.bits === 4 ? 4 : 8;
      const weight = dequantizeBlocks(b, {
        ...shape,
        ...blocks,
        bits,
        blockSize: shape.blockSize!,
        // They are inputs here, and constants in a step.
        frozen: true,
      }, form);
      return gemm(b, activations(b, "float32", shape, tokens), weight);
    },
  })),
  {
    name: FLOAT_ROWS,
    about: "DequantizeLinear with a scale a column, then MatMul",
    storage: "rows",
    emit: (b, shape, tokens) => {
      const weight = b.op("DequantizeLinear", [
        b.input("w.columns", "int8", [shape.columns, shape.rows]),
        b.input("scales", "float32", [shape.rows]),
      ], { axis: int(1) });
      return b.op("MatMul", [activations(b, "float32", shape, tokens), weight]);
    },
  },
  {
    name: "mat_mul_n_bits_level_1",
    about: "MatMulNBits, float32 activations",
    storage: "blocks",
    emit: matMulNBits(1),
  },
  {
    name: "mat_mul_n_bits_level_4",
    about: "MatMulNBits, int8 activations allowed",
    storage: "blocks",
    emit: matMulNBits(4),
  },
  ...INTEGER_FORMS.map((form): KernelForm => ({
    name: form,
    about: `MatMulIntegerToFloat, ${activationType(form)} activations by ${
      isPaired(form) ? "paired " : ""
    }${weightType(form)} weights`,
    integers: form,
    emit: integerProduct(form),
  })),
  ...SLICED_FORMS.map((form): KernelForm => ({
    name: slicedKernel(form),
    about: `activations rounded to 16 bits, two products of ${activationType(form)} by ${
      weightType(form)
    }`,
    storage: "rows",
    integers: form,
    emit: slicedProduct(form),
  })),
];

/** The forms that a stored matrix can be multiplied in. */
export function formsFor({ bits, blockSize }: StoredShape): readonly KernelForm[] {
  const storage = blockSize !== undefined ? "blocks" : bits === 8 ? "rows" : undefined;
  return KERNEL_FORMS.filter((form) => form.storage === undefined || form.storage === storage);
}

/** The product of one form as a graph with the output `y`. */
export function kernelGraph(form: KernelForm, shape: StoredShape, tokens: number): Graph {
  const b = new GraphBuilder(inferTraining);
  const product = form.emit(b, shape, tokens);
  const graph = b.build(form.name, [product]);
  const expanded = {
    ...graph,
    ...expand(graph.nodes, graph.initializers, (name) => b.known(name)),
  };
  return form.integers === "s8s8" ? signedGraph(expanded) : expanded;
}
