"""Loads prompt and prefix tuning with PEFT, and trains it from there.

Reads from stdin [{"base": dir, "adapter": dir, "learning_rate": x, "steps": n, "input_ids": [[...]],
"attention_mask": [[...]], "labels": [[...]], "merged": file}, ...], of which "merged", an ONNX model with
the same virtual tokens in its graph, may be absent; writes for each the flattened logits of the texts'
own tokens, the largest difference of those of the merged model, the loss of each step of AdamW without decay, gradients clipped at a norm of 1, and the
values after them.
"""
import json
import sys

import onnxruntime
import torch
from peft import PeftConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

results = []
for case in json.load(sys.stdin):
    load = lambda: AutoModelForCausalLM.from_pretrained(case["base"], dtype=torch.float32)
    model = PeftModel.from_pretrained(load(), case["adapter"]).eval()
    batch = {name: torch.tensor(case[name]) for name in ("input_ids", "attention_mask", "labels")}
    length = batch["input_ids"].shape[1]
    with torch.no_grad():
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    merged_difference = None
    if "merged" in case:
        session = onnxruntime.InferenceSession(case["merged"])
        feeds = {name: batch[name].numpy() for name in ("input_ids", "attention_mask")}
        difference = abs(torch.tensor(session.run(["logits"], feeds)[0]) - logits[:, -length:])
        merged_difference = (difference * batch["attention_mask"][:, :, None]).max().item()
    # PEFT trains no prompt that it has loaded: a new one gets its values.
    config = PeftConfig.from_pretrained(case["adapter"])
    config.inference_mode = False
    model = get_peft_model(load(), config).eval()
    start = load_file(f"{case['adapter']}/adapter_model.safetensors")["prompt_embeddings"]
    with torch.no_grad():
        model.prompt_encoder["default"].embedding.weight.copy_(start)
    trained = [value for value in model.parameters() if value.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=case["learning_rate"], weight_decay=0)
    losses = []
    for _ in range(case["steps"]):
        optimizer.zero_grad()
        loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        losses.append(loss.item())
    results.append({
        "logits": logits[:, -length:].flatten().tolist(),
        "merged_difference": merged_difference,
        "losses": losses,
        "trained": [value.flatten().tolist() for value in trained],
    })
json.dump(results, sys.stdout)
