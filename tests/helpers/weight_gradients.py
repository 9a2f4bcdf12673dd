"""Singular values of the gradients of a causal language model's weights, from PyTorch.

Reads from stdin {"base": dir, "modules": [path, ...], "batches": [{"input_ids", "attention_mask",
"labels"}, ...]} with lists of rows, writes a list of descending singular values for each module. The loss
is summed over the target tokens of all batches.
"""
import json
import sys

import torch
from transformers import AutoModelForCausalLM

request = json.load(sys.stdin)
model = AutoModelForCausalLM.from_pretrained(request["base"], dtype=torch.float32).eval()
for batch in request["batches"]:
    tensors = {key: torch.tensor(value) for key, value in batch.items()}
    labels = tensors.pop("labels")
    logits = model(**tensors).logits[:, :-1]
    torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100, reduction="sum"
    ).backward()
modules = dict(model.named_modules())
spectra = [torch.linalg.svdvals(modules[path].weight.grad.double()) for path in request["modules"]]
json.dump([values.tolist() for values in spectra], sys.stdout)
