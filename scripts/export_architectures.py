"""Exports a tiny model with random weights of each architecture, as PyTorch's exporters write it.

usage: export_architectures.py FOLDER EXPORTER [NAME...], with dynamo or torchscript for the exporter

Needs torch, transformers, onnx, onnxruntime, onnxscript. Writes FOLDER/NAME with a tokenizer beside
the model and prints a line of JSON for each: its task, or what the exporter says against it.
"""
import json
import pathlib
import shutil
import sys

import onnxruntime
import torch
import transformers as tf

from tiny_models import (
    HEADS,
    HIDDEN,
    blocks,
    export_program,
    export_torchscript,
)

TOKENIZER = pathlib.Path(__file__).parents[1] / "tests/fixtures/models/tiny-llama-hf"
VOCABULARY = 512
BLOCKS = blocks(VOCABULARY)
ENDS = dict(bos_token_id=1, eos_token_id=2)
DECODER = dict(**BLOCKS, **ENDS, num_key_value_heads=1)
ENCODER = dict(**BLOCKS, num_labels=3)
SHORT = dict(vocab_size=VOCABULARY, n_embd=HIDDEN, n_layer=2, n_positions=64, **ENDS)

DECODERS = {
    "Llama": DECODER,
    "Mistral": DECODER | dict(sliding_window=16),
    "Qwen2": DECODER,
    "Qwen3": DECODER | dict(head_dim=16),
    "Gemma": DECODER | dict(head_dim=16),
    "Gemma3": DECODER | dict(head_dim=16, sliding_window=16),
    "Phi": DECODER,
    "Phi3": DECODER,
    "StableLm": DECODER,
    "Olmo2": DECODER,
    "Cohere": DECODER,
    "Granite": DECODER,
    "SmolLM3": DECODER,
    "Starcoder2": DECODER,
    "Ernie4_5": DECODER,
    "Lfm2": DECODER,
    "GPTNeoX": {key: value for key, value in DECODER.items() if key != "num_key_value_heads"},
    "GPT2": SHORT | dict(n_head=HEADS),
    "GPTJ": SHORT | dict(n_head=HEADS, rotary_dim=8),
    "CodeGen": SHORT | dict(n_head=4, rotary_dim=4),
    "OPT": BLOCKS | ENDS | dict(ffn_dim=48, word_embed_proj_dim=HIDDEN),
    "Bloom": dict(vocab_size=VOCABULARY, hidden_size=HIDDEN, n_layer=2, n_head=HEADS, **ENDS),
    "Falcon": {key: value for key, value in DECODER.items() if key != "num_key_value_heads"},
}
ENCODERS = {
    "Bert": ENCODER,
    "DistilBert": dict(
        vocab_size=VOCABULARY,
        dim=HIDDEN,
        hidden_dim=48,
        n_layers=2,
        n_heads=HEADS,
        max_position_embeddings=64,
        num_labels=3,
    ),
    "Roberta": ENCODER | dict(max_position_embeddings=70),
    "XLMRoberta": ENCODER | dict(max_position_embeddings=70),
    "Electra": ENCODER | dict(embedding_size=16),
    "Albert": ENCODER | dict(embedding_size=16),
    "MPNet": ENCODER | dict(max_position_embeddings=70),
    "DebertaV2": ENCODER | dict(
        relative_attention=True,
        pos_att_type=["c2p", "p2c"],
        position_buckets=16,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        position_biased_input=False,
    ),
    "ModernBert": ENCODER | ENDS | dict(cls_token_id=1, sep_token_id=2, local_attention=16),
    "MobileBert": ENCODER | dict(
        embedding_size=16, intra_bottleneck_size=16, true_hidden_size=16
    ),
    "SqueezeBert": ENCODER | dict(embedding_size=HIDDEN),
    "NomicBert": ENCODER,
    "EuroBert": ENCODER | dict(num_key_value_heads=2),
}
# Token states without a head, which graft adds one to.
BARE = {
    "T5": dict(vocab_size=VOCABULARY, d_model=HIDDEN, d_kv=16, d_ff=48, num_layers=2)
    | dict(num_heads=HEADS),
    "CLIPText": BLOCKS | ENDS,
    "Qwen3States": DECODER | dict(head_dim=16),
    "RoFormer": ENCODER | dict(embedding_size=HIDDEN),
    "ConvBert": ENCODER | dict(embedding_size=HIDDEN),
    "Nystromformer": ENCODER | dict(num_landmarks=64, segment_means_seq_len=64),
    "Ernie": ENCODER,
    "Camembert": ENCODER | dict(max_position_embeddings=70),
    "XLNet": dict(vocab_size=VOCABULARY, d_model=HIDDEN, n_layer=2, n_head=HEADS, d_inner=48),
    "BigBird": ENCODER | dict(attention_type="original_full"),
    "XGLMStates": dict(vocab_size=VOCABULARY, d_model=HIDDEN, ffn_dim=48, num_layers=2)
    | dict(attention_heads=HEADS, max_position_embeddings=64),
}
# Where names of configurations and models are not made of the architecture's alone.
CONFIGS = {
    "Gemma3": "Gemma3TextConfig",
    "Qwen3States": "Qwen3Config",
    "XGLMStates": "XGLMConfig",
}
MODELS = {
    "GPT2": "GPT2LMHeadModel",
    "T5": "T5EncoderModel",
    "Qwen3States": "Qwen3Model",
    "XGLMStates": "XGLMModel",
}
KINDS = {
    "ForCausalLM": DECODERS,
    "ForSequenceClassification": ENCODERS,
    "Model": BARE,
}


def model_of(name, kind):
    torch.manual_seed(0)
    options = KINDS[kind][name]
    config = getattr(tf, CONFIGS.get(name, f"{name}Config"))(**options)
    made = getattr(tf, MODELS.get(name, name + kind))
    model = made._from_config(config, attn_implementation="eager").eval()
    # Gentler than the fixtures' weights: a few large steps must lower every loss.
    for parameter in model.parameters():
        noise = torch.randn_like(parameter)
        if parameter.dim() == 1:
            parameter.data += 0.1 * noise
        else:
            parameter.data = 1.2 / parameter.shape[-1] ** 0.5 * noise
    return model


def export(model, kind, path, dynamo):
    names = ("input_ids", "attention_mask")
    output = "last_hidden_state" if kind == "Model" else "logits"
    if dynamo:
        export_program(model, names, path, output)
    else:
        one_per_token = kind != "ForSequenceClassification"
        axes = {0: "batch_size"} | ({1: "sequence_length"} if one_per_token else {})
        export_torchscript(model, names, path, axes, opset=17, output=output)
    # Some are written for the sample's shape alone.
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    ids = torch.randint(3, VOCABULARY, (3, 9)).numpy()
    session.run(None, {"input_ids": ids, "attention_mask": ids * 0 + 1})


def main():
    folder, exporter, *wanted = sys.argv[1:]
    for kind, name in [(kind, name) for kind, names in KINDS.items() for name in names]:
        if wanted and name not in wanted:
            continue
        task = "causal" if kind == "ForCausalLM" else "classification"
        target = pathlib.Path(folder, name)
        target.mkdir(parents=True)
        line = {"name": name, "task": task, "has_head": kind != "Model"}
        try:
            model = model_of(name, kind)
            export(model, kind, target / "model.onnx", exporter == "dynamo")
            model.config.save_pretrained(target)
            for file in ("tokenizer.json", "tokenizer_config.json"):
                shutil.copy(TOKENIZER / file, target / file)
        except Exception as error:  # an exporter's limits are not graft's
            shutil.rmtree(target)
            line = {"name": name, "not_exported": f"{type(error).__name__}: {error}"[:200]}
        print("\n" + json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
