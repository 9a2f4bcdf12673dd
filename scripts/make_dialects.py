#!/usr/bin/env python3
"""Makes a tiny model with random weights for each ONNX dialect that graft's other fixtures lack.

Writes tests/fixtures/models/dialects/<name>/. Each is made by the tool that users make it with:
onnxruntime-genai's model builder, PyTorch's exporter, ONNX Runtime's transformer optimiser, its
session optimiser and its quantisers.

Needs (CPU builds suffice): torch, transformers, onnx, onnxruntime, onnxruntime-genai, onnx_ir,
onnxscript. Run with no arguments from the repository's root:

    python scripts/make_dialects.py [NAME ...]
"""
import pathlib
import shutil
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime as ort
import torch
import transformers as tf
from onnxruntime.quantization import (
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.matmul_bnb4_quantizer import MatMulBnb4Quantizer
from onnxruntime.transformers import optimizer
from onnxruntime.transformers.fusion_options import FusionOptions

from calibration import Calibration
from tiny_models import (
    HEADS,
    HIDDEN,
    blocks,
    export_program,
    export_torchscript,
    random_weights,
)

ROOT = pathlib.Path(__file__).resolve().parent.parent
OUT = ROOT / "tests/fixtures/models/dialects"
TOKENIZER = ROOT / "tests/fixtures/models/tiny-llama-hf"
TOKEN_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
VOCABULARY = 128
BLOCKS = blocks(VOCABULARY)
DECODER = BLOCKS | dict(num_key_value_heads=1, bos_token_id=1, eos_token_id=2)
ENCODER = BLOCKS | dict(num_labels=4, attn_implementation="eager")


# --- onnxruntime-genai's model builder -------------------------------------------------------


BUILDER = """
import os, runpy, sys
import onnxruntime_genai.models
folder = os.path.dirname(onnxruntime_genai.models.__file__)
sys.path.insert(0, folder)
from builders.base import Model
for method in sys.argv.pop(1).split():
    setattr(Model, method, lambda self: False)
runpy.run_path(os.path.join(folder, "builder.py"), run_name="__main__")
"""


def genai(name, model, precision, without="", **options):
    """
    A decoder as onnxruntime-genai's builder exports it for the CPU, or for a provider that lacks
    what `without` names (methods by which the builder asks what a provider supports).
    """
    with tempfile.TemporaryDirectory() as temporary:
        source, built = pathlib.Path(temporary) / "hf", pathlib.Path(temporary) / "onnx"
        random_weights(model).save_pretrained(source)
        for file in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(TOKENIZER / file, source / file)
        command = [sys.executable, "-c", BUILDER, without]
        command += ["-m", "none", "-i", str(source), "-o", str(built), "-p", precision]
        command += ["-e", "cpu", "-c", temporary, "--extra_options", "hf_token=false"]
        command += [f"{key}={value}" for key, value in options.items()]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for file in ("model.onnx", "model.onnx.data", "genai_config.json"):
            shutil.copy(built / file, directory(name) / file)


def llama():
    return tf.LlamaForCausalLM(tf.LlamaConfig(head_dim=16, **DECODER))


def llama_int4_zero_points():
    """MatMulNBits 4 bits with zero points; K is no multiple of the block size."""
    genai("llama-int4-zero-points", llama(), "int4", is_symmetric="false", block_size=32)


def llama_int8_separate():
    """MatMulNBits 8 bits; GroupQueryAttention with separate q, k, v."""
    genai("llama-int8-separate", llama(), "int8", fuse_qkv="false", block_size=16)


def llama_qdq_int4():
    """DequantizeLinear of int4 in blocks, and MatMul."""
    genai("llama-qdq-int4", llama(), "int4", use_qdq="true", block_size=16)


def llama_bnb4():
    """MatMulBnb4: the layers in NF4, the head in FP4."""
    genai("llama-bnb4", llama(), "fp32")
    path = directory("llama-bnb4") / "model.onnx"
    model = onnx.load(path)
    head = ["/lm_head/MatMul"]
    for quant_type, exclude in ((MatMulBnb4Quantizer.NF4, head), (MatMulBnb4Quantizer.FP4, [])):
        quantizer = MatMulBnb4Quantizer(model, quant_type, block_size=16, nodes_to_exclude=exclude)
        quantizer.process()
        model = quantizer.model.model
    (path.parent / "model.onnx.data").unlink()
    onnx.save(model, path)


def qwen3():
    """Heads normalised before RotaryEmbedding nodes of their own."""
    genai("qwen3", tf.Qwen3ForCausalLM(tf.Qwen3Config(head_dim=16, **DECODER)), "fp32")


def llama_rotary():
    """RotaryEmbedding nodes with position_ids before GroupQueryAttention."""
    genai("llama-rotary", llama(), "fp32", "is_fused_rope_supported", fuse_qkv="false")


def llama_multi_head():
    """RotaryEmbedding nodes, repeated keys, MultiHeadAttention with an attention bias."""
    without = "is_gqa_supported is_packed_attn_supported"
    genai("llama-multi-head", llama(), "fp32", without=without)


def gemma2():
    """Softcaps, a local window in every other layer, scaled embeddings."""
    config = tf.Gemma2Config(
        head_dim=16,
        query_pre_attn_scalar=16,
        attn_logit_softcapping=2.0,
        final_logit_softcapping=3.0,
        sliding_window=4,
        **DECODER,
    )
    genai("gemma2", tf.Gemma2ForCausalLM(config), "fp32", windowed_kv_cache="false")


def phi():
    """Partial rotary, layer normalisation, FastGelu, attention beside the MLP, biases."""
    sizes = {**DECODER, "hidden_size": 64, "num_key_value_heads": HEADS}
    config = tf.PhiConfig(partial_rotary_factor=0.5, **sizes)
    genai("phi", tf.PhiForCausalLM(config), "fp32")


# --- PyTorch's TorchScript exporter and ONNX Runtime's optimisers -----------------------------


def bert(path):
    """BERT with a classification head, as PyTorch's TorchScript exporter writes it."""
    config = tf.BertConfig(
        **BLOCKS,
        num_labels=4,
        attn_implementation="eager",
    )
    model = tf.BertForSequenceClassification(config)
    export_torchscript(random_weights(model), TOKEN_INPUTS, path, {0: "batch_size"})


def optimized_bert(path, multi_head=False):
    """The same through ONNX Runtime's transformer optimiser."""
    with tempfile.TemporaryDirectory() as temporary:
        bert(f"{temporary}/bert.onnx")
        options = FusionOptions("bert")
        options.use_multi_head_attention = multi_head
        optimizer.optimize_model(
            f"{temporary}/bert.onnx",
            "bert",
            num_heads=HEADS,
            hidden_size=HIDDEN,
            optimization_options=options,
            opt_level=0,
        ).save_model_to_file(str(path))


def session_optimized(source, path, level=ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED):
    """What a session's own optimiser makes of a model."""
    options = ort.SessionOptions()
    options.graph_optimization_level = level
    options.optimized_model_filepath = str(path)
    options.log_severity_level = 3
    ort.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])


def bert_attention():
    """EmbedLayerNormalization, Attention, SkipLayerNormalization, BiasGelu."""
    optimized_bert(directory("bert-attention") / "model.onnx")


def bert_multi_head():
    """MultiHeadAttention with bias and mask."""
    optimized_bert(directory("bert-multi-head") / "model.onnx", multi_head=True)


def bert_session():
    """What ONNX Runtime's session optimiser writes: FusedMatMul, SkipLayerNormalization, BiasGelu."""
    with tempfile.TemporaryDirectory() as temporary:
        bert(f"{temporary}/bert.onnx")
        session_optimized(f"{temporary}/bert.onnx", directory("bert-session") / "model.onnx")


def bert_qattention():
    """QAttention and DynamicQuantizeLinear + MatMulInteger."""
    with tempfile.TemporaryDirectory() as temporary:
        optimized_bert(f"{temporary}/bert.onnx")
        quantize_dynamic(
            f"{temporary}/bert.onnx",
            str(directory("bert-qattention") / "model.onnx"),
            weight_type=QuantType.QInt8,
            per_channel=True,
            op_types_to_quantize=["Attention", "MatMul", "Gemm"],
            extra_options={"MatMulConstBOnly": True, "DefaultTensorType": onnx.TensorProto.FLOAT},
        )


def bert_integer_to_float():
    """MatMulIntegerToFloat and DynamicQuantizeMatMul, by the session optimiser."""
    with tempfile.TemporaryDirectory() as temporary:
        bert(f"{temporary}/bert.onnx")
        quantize_dynamic(
            f"{temporary}/bert.onnx",
            f"{temporary}/quantized.onnx",
            weight_type=QuantType.QUInt8,
            op_types_to_quantize=["MatMul"],
            extra_options={"MatMulConstBOnly": True},
        )
        target = directory("bert-integer-to-float") / "model.onnx"
        session_optimized(f"{temporary}/quantized.onnx", target)


def quantized_statically(name, quant_format=QuantFormat.QDQ, **options):
    generator = np.random.default_rng(3)
    tokens = [generator.integers(0, VOCABULARY, (2, 9)) for _ in range(4)]
    with tempfile.TemporaryDirectory() as temporary:
        bert(f"{temporary}/bert.onnx")
        quantize_static(
            f"{temporary}/bert.onnx",
            str(directory(name) / "model.onnx"),
            Calibration(tokens, TOKEN_INPUTS),
            quant_format=quant_format,
            per_channel=True,
            weight_type=QuantType.QInt8,
            **{"op_types_to_quantize": ["MatMul", "Gemm"], **options},
        )


def bert_qdq():
    """QuantizeLinear → DequantizeLinear around activations, int8 weights per channel."""
    quantized_statically("bert-qdq", activation_type=QuantType.QUInt8)


def bert_qdq_floats():
    """As TensorRT takes it: weights as floats before QuantizeLinear → DequantizeLinear."""
    quantized_statically(
        "bert-qdq-floats",
        activation_type=QuantType.QInt8,
        extra_options={"AddQDQPairToWeight": True, "ActivationSymmetric": True},
    )


def bert_qoperator():
    """QLinearMatMul, QGemm and other operators on quantised activations."""
    quantized_statically(
        "bert-qoperator",
        QuantFormat.QOperator,
        activation_type=QuantType.QUInt8,
        op_types_to_quantize=None,
    )


def program(model, name):
    export_program(random_weights(model), TOKEN_INPUTS[:2], directory(name) / "model.onnx")


def albert():
    """One layer that is called for every layer; its feed-forward is written once for each call."""
    model = tf.AlbertForSequenceClassification(tf.AlbertConfig(**ENCODER, embedding_size=16))
    program(model, "albert")


def deberta():
    """Attention over relative positions, whose queries and keys are the layer's own, called again."""
    config = tf.DebertaV2Config(
        **ENCODER,
        relative_attention=True,
        pos_att_type=["c2p", "p2c"],
        position_buckets=16,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        position_biased_input=False,
    )
    model = tf.DebertaV2ForSequenceClassification(config)
    program(model, "deberta")


def bert_masked():
    """A masked language model: scores for every token, of attention to all of them."""
    model = tf.BertForMaskedLM(tf.BertConfig(**ENCODER))
    program(model, "bert-masked")


def bloom():
    """Attention with a bias that grows with the distance (ALiBi), a packed qkv by heads."""
    config = tf.BloomConfig(
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        n_layer=2,
        n_head=HEADS,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        attn_implementation="eager",
    )
    program(tf.BloomForCausalLM(config), "bloom")


def modernbert():
    """Rotary embeddings in an encoder, windows of attention in every other layer, GeGLU."""
    config = tf.ModernBertConfig(
        **ENCODER,
        bos_token_id=1,
        eos_token_id=2,
        cls_token_id=1,
        sep_token_id=2,
        local_attention=8,
        global_attn_every_n_layers=2,
    )
    model = tf.ModernBertForSequenceClassification(config)
    program(model, "modernbert")


def gpt2():
    """Conv1D as Gemm, a packed qkv, FastGelu, a causal mask of standard operators."""
    config = tf.GPT2Config(
        vocab_size=VOCABULARY,
        n_positions=64,
        n_embd=HIDDEN,
        n_layer=2,
        n_head=HEADS,
        bos_token_id=1,
        eos_token_id=2,
        attn_implementation="eager",
    )
    with tempfile.TemporaryDirectory() as temporary:
        names = TOKEN_INPUTS[:2]
        axes = {0: "batch_size", 1: "sequence_length"}
        model = random_weights(tf.GPT2LMHeadModel(config))
        export_torchscript(model, names, f"{temporary}/gpt2.onnx", axes)
        options = FusionOptions("gpt2")
        options.enable_attention = False
        optimizer.optimize_model(
            f"{temporary}/gpt2.onnx",
            "gpt2",
            num_heads=HEADS,
            hidden_size=HIDDEN,
            optimization_options=options,
            opt_level=0,
        ).save_model_to_file(str(directory("gpt2") / "model.onnx"))


def directory(name):
    path = OUT / name
    path.mkdir(parents=True, exist_ok=True)
    return path


MAKERS = [
    llama_int4_zero_points,
    llama_int8_separate,
    llama_qdq_int4,
    llama_bnb4,
    qwen3,
    llama_rotary,
    llama_multi_head,
    gemma2,
    phi,
    bert_attention,
    bert_multi_head,
    bert_session,
    bert_qattention,
    bert_integer_to_float,
    bert_qdq,
    bert_qdq_floats,
    bert_qoperator,
    albert,
    deberta,
    bert_masked,
    bloom,
    modernbert,
    gpt2,
]


def main():
    wanted = sys.argv[1:]
    for make in MAKERS:
        name = make.__name__.replace("_", "-")
        if wanted and name not in wanted:
            continue
        make()
        model = onnx.load(OUT / name / "model.onnx", load_external_data=False)
        operators = {f"{node.domain}.{node.op_type}".lstrip(".") for node in model.graph.node}
        size = sum(file.stat().st_size for file in (OUT / name).iterdir())
        print(f"{name}: {size / 1000:.0f} kB, {len(model.graph.node)} nodes: {sorted(operators)}")


if __name__ == "__main__":
    main()
