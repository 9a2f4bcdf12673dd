"""A language model of a size that is in use, random weights as onnxruntime-genai's builder writes them.

usage: large_model.py SIZE TOKENIZER FOLDER [PRECISION]

SIZE is 0.5B (24 layers of 896, a vocabulary of 151,936) or 1.2B (16 layers of 2,048, 128,256); the
tokenizer comes from the folder TOKENIZER and knows fewer tokens. PRECISION is int4 or fp32, int4 if
absent. Memory and speed are those of a
trained model; losses and gradients mean nothing. Needs torch, transformers and onnxruntime-genai,
and for 1.2B about 12 GB of memory and as much on the disk.
"""
import pathlib
import shutil
import subprocess
import sys
import tempfile

import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
COMMON = dict(bos_token_id=1, eos_token_id=2, pad_token_id=2, tie_word_embeddings=True)


def small():
    return Qwen2ForCausalLM(Qwen2Config(
        vocab_size=151936, hidden_size=896, intermediate_size=4864, num_hidden_layers=24,
        num_attention_heads=14, num_key_value_heads=2, max_position_embeddings=32768,
        rope_theta=1e6, **COMMON,
    ))


def large():
    return LlamaForCausalLM(LlamaConfig(
        vocab_size=128256, hidden_size=2048, intermediate_size=8192, num_hidden_layers=16,
        num_attention_heads=32, num_key_value_heads=8, head_dim=64, max_position_embeddings=8192,
        rope_theta=5e5, **COMMON,
    ))


SIZES = {"0.5B": small, "1.2B": large}


def main():
    size, tokenizer, folder, *precision = sys.argv[1:]
    precision = precision[0] if precision else "int4"
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as temporary:
        source = pathlib.Path(temporary, "source")
        SIZES[size]().save_pretrained(source)
        for name in TOKENIZER_FILES:
            shutil.copy(pathlib.Path(tokenizer, name), source)
        subprocess.run(
            [
                *(sys.executable, "-m", "onnxruntime_genai.models.builder"),
                *("-m", source, "-i", source, "-o", folder, "-p", precision, "-e", "cpu"),
                *("-c", pathlib.Path(temporary, "cache")),
                *("--extra_options", "int4_accuracy_level=4"),
            ],
            check=True,
            stdout=sys.stderr,
        )


if __name__ == "__main__":
    main()
