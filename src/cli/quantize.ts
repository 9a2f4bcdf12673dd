/** `graft quantize`: an fp32 or fp16 model to int8 per channel or int4 block-wise weights. */
import { EXIT, UsageError } from "../errors.ts";
import { findModelFile } from "../model/find_model.ts";
import { loadOnnx } from "../model/load_onnx.ts";
import { quantizeDirectory, type QuantizeResult } from "../model/quantize_directory.ts";
import type { QuantizeReport } from "../quant/quantize_model.ts";
import { openMapped } from "../system/mapped_file.ts";
import { command } from "./command.ts";
import { boolean, integer, text } from "./flags.ts";
import { formatBytes, formatShare } from "./format.ts";
import { longWork } from "./long_work.ts";
import type { Terminal } from "./output.ts";
import { openRunner, RUNTIME_FLAGS } from "./runtime_flags.ts";
import { untilStopped } from "./stop_signal.ts";

export default command({
  name: "quantize",
  summary: "Quantise a float model's linear layers, weights only",
  operands: "MODEL",
  maxOperands: 1,
  flags: {
    model: text("Folder of the model, or its .onnx file; the same as the operand", {
      short: "m",
      placeholder: "DIR",
    }),
    savePath: text("Folder to write", { default: "quantized", placeholder: "DIR" }),
    bits: text("4: int4 in blocks (MatMulNBits); 8: int8 per channel (DequantizeLinear)", {
      choices: ["4", "8"],
      default: "4",
    }),
    blockSize: integer("Inputs that share a scale, for 4 bits", { default: 32, min: 16, max: 256 }),
    accuracyLevel: integer(
      "For 4 bits: 4 computes with int8 activations, faster and less exact; exact if absent",
      { min: 0, max: 4 },
    ),
    useQdq: boolean(
      "For 4 bits: DequantizeLinear of int4 before MatMul, as TensorRT takes it, not MatMulNBits",
      { default: false },
    ),
    minElements: integer("Weights of fewer elements stay floats", { default: 4096, min: 1 }),
    head: boolean("Quantise the head that makes the logits, too", { default: false }),
    force: boolean("Replace --save-path", { default: false }),
    json: boolean("Print the report as JSON", { default: false }),
    ...RUNTIME_FLAGS,
  },
  examples: [
    { command: "graft quantize ./model-fp32 --save-path model-int4", does: "writes int4 weights" },
    { command: "graft quantize model.onnx --bits 8", does: "writes int8 weights per channel" },
  ],
  async run({ flags, operands, terminal }) {
    const named = operands[0] ?? flags.model;
    if (named === undefined) {
      throw new UsageError("graft quantize needs a model: `graft quantize MODEL`");
    }
    if (flags.bits === "4" && (flags.blockSize & (flags.blockSize - 1)) !== 0) {
      throw new UsageError(
        `--block-size must be a power of two: current value is ${flags.blockSize}`,
      );
    }
    if (flags.useQdq && (flags.bits !== "4" || flags.accuracyLevel !== undefined)) {
      throw new UsageError(
        flags.bits === "4"
          ? "--accuracy-level is MatMulNBits', which --use-qdq does not write: leave one out"
          : "--use-qdq is for 4 bits: 8 bits are DequantizeLinear already",
      );
    }
    const path = findModelFile(named);
    using base = loadOnnx(path, openMapped);
    using runner = openRunner(flags, { modelBytes: base.sizeBytes });
    const show = longWork(terminal);
    const result = await untilStopped(
      flags.savePath,
      terminal,
      (signal) =>
        quantizeDirectory(runner, {
          base: { path, model: base.model, sizeBytes: base.sizeBytes },
          savePath: flags.savePath,
          bits: flags.bits === "4" ? 4 : 8,
          blockSize: flags.blockSize,
          accuracyLevel: flags.accuracyLevel,
          useQdq: flags.useQdq,
          minElements: flags.minElements,
          includeHead: flags.head,
          force: flags.force,
          onWeight: ({ weight }, done, total) => show(`Quantising: ${done} of ${total}, ${weight}`),
          signal,
        }),
    );
    if (flags.json) terminal.print(JSON.stringify(toJson(result), null, 2));
    else report(result, flags.savePath, terminal);
    return EXIT.ok;
  },
});

function toJson(result: QuantizeResult) {
  const { weights, sizeBytesBefore, sizeBytesAfter, outputErrors, notCompared } = result;
  return {
    size_bytes_before: sizeBytesBefore,
    size_bytes_after: sizeBytesAfter,
    output_errors: Object.fromEntries(outputErrors),
    ...(notCompared === undefined ? {} : { not_compared: notCompared }),
    weights: weights.map((weight: QuantizeReport) => ({
      node: weight.node,
      weight: weight.weight,
      shape: [weight.rows, weight.cols],
      size_bytes_before: weight.sizeBytesBefore,
      size_bytes_after: weight.sizeBytesAfter,
      relative_error: weight.relativeError,
    })),
  };
}

function report(result: QuantizeResult, savePath: string, terminal: Terminal): void {
  const { weights, sizeBytesBefore, sizeBytesAfter, outputErrors, notCompared } = result;
  for (const { weight, rows, cols, relativeError } of weights) {
    terminal.print(`${weight} [${rows},${cols}]: error ${formatShare(relativeError)}`);
  }
  terminal.print(
    `${weights.length} weights quantised; ${formatBytes(sizeBytesBefore)} before, ` +
      `${formatBytes(sizeBytesAfter)} after`,
  );
  for (const [name, error] of outputErrors) {
    terminal.print(`Output "${name}" on random tokens: differs by ${formatShare(error)}`);
  }
  if (notCompared !== undefined) terminal.print(`Outputs are not compared: ${notCompared}`);
  terminal.print(`Saved the quantised model in ${savePath}`);
}
