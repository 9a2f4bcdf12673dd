"""What ONNX Runtime's own tools make of exported models.

usage: quantize_exports.py FOLDER FORM,... NAME...

For each FOLDER/NAME writes beside it, as far as they are asked for

- NAME-fused, by the optimiser for transformers;
- NAME-fused-int8, that with weights in 8 bits and activations rounded as it runs;
- NAME-static, weights in 8 bits and activations rounded by scales of the file (QDQ);
- NAME-static-qoperator, that with products, softmax and what only moves elements as operators on
  quantised activations;
- NAME-nf4, weights in bitsandbytes' 4 bits;
- NAME-static-floats, that with the weights as floats before their own QuantizeLinear and
  DequantizeLinear, as TensorRT takes it.

Prints a line of JSON for each: its form, or what the tool says against it. Needs torch, onnx and
onnxruntime.
"""
import json
import logging
import pathlib
import shutil
import sys

import numpy as np
import onnx
from onnxruntime.quantization import (
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.matmul_bnb4_quantizer import MatMulBnb4Quantizer
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers import optimizer

from calibration import Calibration
from tiny_models import HEADS, HIDDEN

#: Tokens that every vocabulary has.
TOKENS = 500
#: The quantiser cannot tell the types of what the optimiser's operators give.
FLOATS = {"DefaultTensorType": onnx.TensorProto.FLOAT}


def fused(source, target):
    kind = "gpt2" if source.parent.name.startswith("GPT2") else "bert"
    model = optimizer.optimize_model(
        str(source), model_type=kind, num_heads=HEADS, hidden_size=HIDDEN, opt_level=0
    )
    model.save_model_to_file(str(target))


def fused_int8(source, target):
    between = target.with_name("fused.onnx")
    fused(source, between)
    quantize_dynamic(
        str(between), str(target), weight_type=QuantType.QInt8, extra_options=FLOATS
    )
    between.unlink()


def static(source, target, quant_format=QuantFormat.QDQ, **options):
    generator = np.random.default_rng(3)
    tokens = [generator.integers(3, TOKENS, (8, length)) for length in range(4, 20)]
    # Calls of one layer read its weight through Identity; as they are, the second's would be rounded
    # as if it were an activation.
    between = target.with_name("prepared.onnx")
    quant_pre_process(str(source), str(between), skip_symbolic_shape=True)
    quantize_static(
        str(between),
        str(target),
        Calibration(tokens, ("input_ids", "attention_mask")),
        quant_format=quant_format,
        per_channel=True,
        weight_type=QuantType.QInt8,
        **{"op_types_to_quantize": ["MatMul", "Gemm"], **options},
    )
    between.unlink()


def static_floats(source, target):
    static(source, target, extra_options={"AddQDQPairToWeight": True})


def static_qoperator(source, target):
    # Sums are left out: that of scores and a mask has a scale that leaves nothing of the scores.
    types = ["MatMul", "Gemm", "Softmax", "Gather", "Split", "Reshape", "Transpose"]
    static(source, target, QuantFormat.QOperator, op_types_to_quantize=types)


def nf4(source, target):
    quantizer = MatMulBnb4Quantizer(
        onnx.load(source), MatMulBnb4Quantizer.NF4, block_size=16
    )
    quantizer.process()
    onnx.save(quantizer.model.model, target)


FORMS = {
    "fused": fused,
    "fused-int8": fused_int8,
    "static": static,
    "static-floats": static_floats,
    "static-qoperator": static_qoperator,
    "nf4": nf4,
}


def main():
    folder, forms, *names = sys.argv[1:]
    logging.disable(logging.WARNING)
    for name in names:
        source = pathlib.Path(folder, name)
        for form in forms.split(","):
            target = pathlib.Path(folder, f"{name}-{form}")
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.onnx*"))
            line = {"name": name, "form": form}
            try:
                FORMS[form](source / "model.onnx", target / "model.onnx")
            except Exception as error:  # the tools' limits are not graft's
                line["not_made"] = f"{type(error).__name__}: {error}"[:200]
            print("\n" + json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
