"""Trains bottleneck adapters with torch, from the values in a file, and prints the losses of their steps.

Reads from stdin a list of {"base": dir, "tensors": file, "non_linearity": name, "learning_rate": x,
"steps": n, "input_ids": [[...]], "attention_mask": [[...]], "labels": [[...]]}; AdamW without decay,
gradients clipped at a norm of 1.
"""
import json
import sys

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

FUNCTIONS = {
    "relu": torch.relu,
    "gelu": torch.nn.functional.gelu,
    "swish": torch.nn.functional.silu,
}


def losses_of(case):
    model = AutoModelForCausalLM.from_pretrained(case["base"], dtype=torch.float32).eval()
    model.requires_grad_(False)
    function = FUNCTIONS[case["non_linearity"]]
    tensors = {
        name.removeprefix("base_model.model."): torch.nn.Parameter(value)
        for name, value in load_file(case["tensors"]).items()
    }
    for path in {name.rsplit(".adapter_", 1)[0] for name in tensors}:
        def after(_module, _inputs, hidden, path=path):
            part = lambda which: tensors[f"{path}.adapter_{which}"]
            low = function(hidden @ part("down.weight").T + part("down.bias"))
            return hidden + low @ part("up.weight").T + part("up.bias")

        model.get_submodule(path).register_forward_hook(after)
    batch = {name: torch.tensor(case[name]) for name in ("input_ids", "attention_mask", "labels")}
    optimizer = torch.optim.AdamW(tensors.values(), lr=case["learning_rate"], weight_decay=0)
    losses = []
    for _ in range(case["steps"]):
        optimizer.zero_grad()
        loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(tensors.values(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses


json.dump([losses_of(case) for case in json.load(sys.stdin)], sys.stdout)
