/** Quantises a model, given paths and settings, for programs and the command line. */
import type { ParametersOf } from "../config/parameter.ts";
import { type Given, wholeConfig } from "../config/given.ts";
import { ParameterError } from "../errors.ts";
import { findModelFile } from "../model/find_model.ts";
import { loadOnnx } from "../model/load_onnx.ts";
import { quantizeDirectory, type QuantizeResult } from "../model/quantize_directory.ts";
import type { QuantizeReport } from "../quant/quantize_model.ts";
import { openRunner, type RuntimeOptions } from "../runtime/open_runner.ts";
import { RUNTIME_PARAMETERS } from "../runtime/runtime_parameters.ts";
import { openMapped } from "../system/mapped_file.ts";
import type { RuntimeNote } from "../runtime/runtime_note.ts";
import type { Watch } from "./watch.ts";

/** What is quantised, and how. */
export interface QuantizeConfig extends RuntimeOptions {
  /** Folder of an fp32 or fp16 model, its `.onnx` file, or the name of a pulled model. */
  readonly model: string;
  /** Folder to write; default `quantized`. */
  readonly savePath: string;
  /**
   * 4: int4 in blocks (`MatMulNBits`); 8: int8 per output channel (`DequantizeLinear`); default 4.
   */
  readonly bits: number;
  /** Inputs that share a scale, for 4 bits: a power of two from 16 to 256; default 32. */
  readonly blockSize: number;
  /**
   * The setting of `MatMulNBits`, 0 to 4: 4 computes with int8 activations, faster and less exactly; default:
   * exact.
   */
  readonly accuracyLevel?: number;
  /**
   * For 4 bits: `DequantizeLinear` of int4 before `MatMul`, as TensorRT takes it, instead of
   * `MatMulNBits`; default false.
   */
  readonly useQdq: boolean;
  /** Weights of fewer elements stay floats; default 4096. */
  readonly minElements: number;
  /** Whether the head that makes the logits is quantised too; default false. */
  readonly head: boolean;
  /** Whether an existing model folder at `savePath` is replaced; default false. */
  readonly force: boolean;
}

/** The parameters of a {@linkcode QuantizeConfig}. */
export const QUANTIZE_PARAMETERS = {
  ...RUNTIME_PARAMETERS,
  model: { kind: "text", required: true },
  savePath: { kind: "text", default: "quantized" },
  bits: { kind: "integer", default: 4 },
  blockSize: { kind: "integer", default: 32, min: 16, max: 256 },
  accuracyLevel: { kind: "integer", min: 0, max: 4 },
  useQdq: { kind: "boolean", default: false },
  minElements: { kind: "integer", default: 4096, min: 1 },
  head: { kind: "boolean", default: false },
  force: { kind: "boolean", default: false },
} as const satisfies ParametersOf<QuantizeConfig>;

/** What a quantisation reports while it runs. */
export type QuantizeEvent =
  | RuntimeNote
  /** A weight is done: how many so far, and of how many. */
  | {
    readonly kind: "weight";
    readonly report: QuantizeReport;
    readonly done: number;
    readonly total: number;
  };

/** A {@linkcode QuantizeConfig} as a program writes it: absent parameters take their defaults. */
export type QuantizeInput = Given<QuantizeConfig, "model">;

/**
 * Writes a copy of a model with the weights of its linear layers quantised, and compares the outputs.
 *
 * @returns errors of each weight and of the outputs on random tokens, sizes in bytes
 * @throws {ParameterError} for a setting that is unknown, out of range or contradicts another
 * @throws {UsageError} if nothing in the model can be quantised, or the folder exists
 * @throws {BadInputError} for a model that is missing or not what it should be
 * @throws {StorageError} naming what could not be written
 * @throws {RuntimeFailure} if ONNX Runtime is missing or does not accept the result
 *
 * @example
 * ```ts
 * import { quantize } from "./quantize.ts";
 *
 * const { sizeBytesBefore, sizeBytesAfter } = await quantize({
 *   model: "./model-fp32",
 *   savePath: "./quantized",
 *   blockSize: 64,
 *   minElements: 1024,
 * });
 * console.log(sizeBytesAfter / sizeBytesBefore);
 * ```
 */
export async function quantize(
  input: QuantizeInput,
  { onEvent, signal }: Watch<QuantizeEvent> = {},
): Promise<QuantizeResult> {
  const config = wholeConfig<QuantizeConfig>(QUANTIZE_PARAMETERS, input);
  const bits = checkedBits(config);
  const path = findModelFile(config.model);
  using base = loadOnnx(path, openMapped);
  using runner = openRunner(config, {
    modelBytes: base.sizeBytes,
    onNote: (message) => onEvent?.({ kind: "runtime note", message }),
  });
  return await quantizeDirectory(runner, {
    base: { path, model: base.model, sizeBytes: base.sizeBytes },
    savePath: config.savePath,
    bits,
    blockSize: config.blockSize,
    accuracyLevel: config.accuracyLevel,
    useQdq: config.useQdq,
    minElements: config.minElements,
    includeHead: config.head,
    force: config.force,
    onWeight: (report, done, total) => onEvent?.({ kind: "weight", report, done, total }),
    signal,
  });
}

/** @throws {ParameterError} for settings of another number of bits, and block sizes that no kernel has */
function checkedBits({ bits, blockSize, useQdq, accuracyLevel }: QuantizeConfig): 4 | 8 {
  if (bits !== 4 && bits !== 8) {
    throw new ParameterError(
      "bits",
      (name) => `${name("bits")} must be one of 4, 8: current value is ${bits}`,
    );
  }
  if (bits === 4 && (blockSize & (blockSize - 1)) !== 0) {
    throw new ParameterError(
      "blockSize",
      (name) => `${name("blockSize")} must be a power of two: current value is ${blockSize}`,
    );
  }
  if (useQdq && bits === 8) {
    throw new ParameterError(
      "useQdq",
      (name) => `${name("useQdq")} is for 4 bits: 8 bits are DequantizeLinear already`,
    );
  }
  if (useQdq && accuracyLevel !== undefined) {
    throw new ParameterError(
      "accuracyLevel",
      (name) =>
        `${name("accuracyLevel")} is MatMulNBits', which ${
          name("useQdq")
        } does not write: leave one out`,
    );
  }
  return bits;
}
