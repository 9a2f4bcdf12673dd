"""Combines adapters with PEFT's add_weighted_adapter and prints the updates that come of it.

Reads from stdin {"base": dir, "cases": [{"adapters": [dirs], "weights": [...], "seed": n,
"options": {...}}, ...]}, writes for each case {module: update as rows} of the combined adapter, with
PEFT's own scaling; a case without options is one adapter as PEFT loads it. What `dare` drops is drawn by graft's generator from the seed (PCG-XSH-RR).
"""
import json
import sys

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

MASK = 2**64 - 1


class Pcg:
    INCREMENT = 1442695040888963407

    def __init__(self, seed):
        self.state = (seed + self.INCREMENT) & MASK
        self.next()

    def next(self):
        old = self.state
        self.state = (old * 6364136223846793005 + self.INCREMENT) & MASK
        mixed = (((old >> 18) ^ old) >> 27) & 0xFFFFFFFF
        turn = old >> 59
        return ((mixed >> turn) | (mixed << (-turn & 31))) & 0xFFFFFFFF


def drawn(random):
    def bernoulli(probabilities):
        density = probabilities.flatten()[0].item()
        draws = [float(random.next() / 2**32 < density) for _ in range(probabilities.numel())]
        return torch.tensor(draws).reshape(probabilities.shape)

    return bernoulli


request = json.load(sys.stdin)
results = []
for case in request["cases"]:
    base = AutoModelForCausalLM.from_pretrained(request["base"], dtype=torch.float32)
    names = [f"a{i}" for i in range(len(case["adapters"]))]
    if "options" in case:
        model = PeftModel.from_pretrained(base, case["adapters"][0], adapter_name=names[0])
        for name, path in zip(names[1:], case["adapters"][1:]):
            model.load_adapter(path, adapter_name=name)
        torch.bernoulli = drawn(Pcg(case["seed"]))
        model.base_model.add_weighted_adapter(names, case["weights"], "combined", **case["options"])
    else:
        model = PeftModel.from_pretrained(base, case["adapters"][0], adapter_name="combined")
    results.append({
        path.removeprefix("base_model.model."): module.get_delta_weight("combined").tolist()
        for path, module in model.named_modules()
        if hasattr(module, "lora_A") and "combined" in module.lora_A
    })
json.dump(results, sys.stdout)
