/** `graft quantize`: an fp32 or fp16 model to int8 per channel or int4 block-wise weights. */
import { EXIT, UsageError } from "../../errors.ts";
import type { QuantizeResult } from "../../model/quantize_directory.ts";
import type { QuantizeReport } from "../../quant/quantize_model.ts";
import { quantize, QUANTIZE_PARAMETERS as P } from "../../tasks/quantize.ts";
import { command } from "../command.ts";
import { boolean, integer, text } from "../flags.ts";
import { formatBytes, formatShare } from "../terminal/format.ts";
import { longWork } from "../terminal/long_work.ts";
import type { Terminal } from "../terminal/output.ts";
import { noteOfRuntime, RUNTIME_FLAGS } from "../runtime_flags.ts";
import { untilStopped } from "../terminal/stop_signal.ts";

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
    savePath: text("Folder to write", { ...P.savePath, placeholder: "DIR" }),
    bits: text("4: int4 in blocks (MatMulNBits); 8: int8 per channel (DequantizeLinear)", {
      choices: ["4", "8"],
      default: "4",
    }),
    blockSize: integer("Inputs that share a scale, for 4 bits", P.blockSize),
    accuracyLevel: integer(
      "For 4 bits: 4 computes with int8 activations, faster and less exact; exact if absent",
      P.accuracyLevel,
    ),
    useQdq: boolean(
      "For 4 bits: DequantizeLinear of int4 before MatMul, as TensorRT takes it, not MatMulNBits",
      P.useQdq,
    ),
    minElements: integer("Weights of fewer elements stay floats", P.minElements),
    head: boolean("Quantise the head that makes the logits, too", P.head),
    force: boolean("Replace --save-path", P.force),
    json: boolean("Print the report as JSON", { default: false }),
    ...RUNTIME_FLAGS,
  },
  examples: [
    { command: "graft quantize ./model-fp32 --save-path model-int4", does: "writes int4 weights" },
    { command: "graft quantize model.onnx --bits 8", does: "writes int8 weights per channel" },
  ],
  async run({ flags: { json, bits, ...flags }, operands, terminal }) {
    const model = operands[0] ?? flags.model;
    if (model === undefined) {
      throw new UsageError("graft quantize needs a model: `graft quantize MODEL`");
    }
    const show = longWork(terminal);
    const result = await untilStopped(
      flags.savePath,
      terminal,
      (signal) =>
        quantize({ ...flags, model, bits: Number(bits) }, {
          onEvent(event) {
            if (event.kind === "runtime note") return noteOfRuntime(event.message);
            const { report: { weight }, done, total } = event;
            show(`Quantising: ${done} of ${total}, ${weight}`);
          },
          signal,
        }),
    );
    if (json) terminal.print(JSON.stringify(toJson(result), null, 2));
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
