"""Loads adapters with PEFT on their checkpoints and prints the logits.

Reads from stdin [{"base": dir, "adapter": dir, "task": "CAUSAL_LM" | "SEQ_CLS", "classes": n,
"input_ids": [[...]]}, ...], writes a list with, for each, the flattened float32 logits and the
loading warnings that concern keys.
"""
import json
import sys
import warnings

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

results = []
for case in json.load(sys.stdin):
    if case["task"] == "CAUSAL_LM":
        base = AutoModelForCausalLM.from_pretrained(case["base"], dtype=torch.float32)
    else:
        base = AutoModelForSequenceClassification.from_pretrained(
            case["base"], dtype=torch.float32, num_labels=case["classes"]
        )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = PeftModel.from_pretrained(base, case["adapter"]).eval()
    ids = torch.tensor(case["input_ids"])
    with torch.no_grad():
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    keys = [str(w.message) for w in caught if "key" in str(w.message).lower()]
    adapted = sum(1 for name, _ in model.named_modules() if name.endswith("lora_A"))
    results.append({"logits": logits.flatten().tolist(), "warnings": keys, "adapted": adapted})
json.dump(results, sys.stdout)
