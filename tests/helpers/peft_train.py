"""Trains adapters with PEFT on fixed batches and loads those that graft trained.

Reads from stdin a list of cases:

{"base": checkpoint, "input_ids": [[...]], "labels": [[...]] | [class, ...], "classes": n | null,
 "steps": n, "learning_rate": x, "weight_decay": x, "trained": graft's adapter, "initial": graft's adapter
 before the first step,
 "peft": {"lora": arguments of LoraConfig, "start": "graft" | "own",
          "optimizer": "adamw" | "loraplus" | "lorafa", "ratio": x, "freeze": [parts of names],
          "residual": float checkpoint whose difference from base graft's start approximates,
          "converted": folder for PEFT's adapter as the plain one of the unchanged base}}

Writes a list with, for each, `losses` before each step, `logits` after the last, `logits_before` the
first, `graft_logits` of graft's adapter, `start_difference`: how far graft's initial product is from PEFT's,
or from the best one, relative to its norm.
"""
import json
import os
import sys
import warnings

import torch
from peft import LNTuningConfig, LoraConfig, PeftModel, get_peft_model, set_peft_model_state_dict
from peft.optimizers import create_lorafa_optimizer, create_loraplus_optimizer, lorafa
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

warnings.simplefilter("ignore")
# It would round the projected gradient to 8 bits of mantissa.
lorafa.is_bf16_available = lambda: False


def load(path, classes):
    if classes is None:
        return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    return AutoModelForSequenceClassification.from_pretrained(path, dtype=torch.float32, num_labels=classes)


def optimizer_of(model, case):
    how, rate, decay = case["peft"], case["learning_rate"], case["weight_decay"]
    name = how.get("optimizer", "adamw")
    if name == "loraplus":
        return create_loraplus_optimizer(
            model, torch.optim.AdamW, lr=rate, loraplus_lr_ratio=how["ratio"], loraplus_weight_decay=decay
        )
    if name == "lorafa":
        lora = how["lora"]
        return create_lorafa_optimizer(model, lora["r"], lora["lora_alpha"], rate, weight_decay=decay)
    trained = [p for p in model.parameters() if p.requires_grad]
    return torch.optim.AdamW(trained, lr=rate, weight_decay=decay)


def lora_layers(model):
    return {name: m for name, m in model.named_modules() if hasattr(m, "lora_A") and "default" in m.lora_A}


def start_difference(model, case):
    """Largest relative distance of graft's initial B·A from PEFT's, or from a residual's best of the rank."""
    saved = load_file(os.path.join(case["initial"], "adapter_model.safetensors"))
    base = load(case["base"], case["classes"]).state_dict()
    residual = case["peft"].get("residual")
    floats = load(residual, case["classes"]).state_dict() if residual else None
    worst = 0.0
    for name, layer in lora_layers(model).items():
        rank, scale = layer.r["default"], layer.scaling["default"]
        a = saved[f"{name}.lora_A.weight"][:rank]
        b = saved[f"{name}.lora_B.weight"][:, :rank]
        if floats is None:
            wanted = scale * layer.lora_B["default"].weight @ layer.lora_A["default"].weight
        else:
            key = name.removeprefix("base_model.model.") + ".weight"
            u, s, v = torch.linalg.svd(floats[key] - base[key], full_matrices=False)
            wanted = u[:, :rank] * s[:rank] @ v[:rank]
        worst = max(worst, float((scale * b @ a - wanted).norm() / wanted.norm()))
    return worst


def only_biases(model):
    """BitFit, which PEFT does not have: every bias that the loss depends on is trained."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.endswith(".bias"))
    return model


def loaded(case):
    model = load(case["base"], case["classes"])
    if case["peft"].get("biases"):
        saved = load_file(os.path.join(case["trained"], "adapter_model.safetensors"))
        named = {name.removeprefix("base_model.model."): value for name, value in saved.items()}
        assert not model.load_state_dict(named, strict=False).unexpected_keys
        return model.eval()
    return PeftModel.from_pretrained(model, case["trained"]).eval()


def run(case):
    how = case["peft"]
    ids = torch.tensor(case["input_ids"])
    labels = torch.tensor(case["labels"])
    mask = torch.ones_like(ids)
    task = "CAUSAL_LM" if case["classes"] is None else "SEQ_CLS"
    torch.manual_seed(0)
    base = load(case["base"], case["classes"])
    if how.get("biases"):
        model = only_biases(base)
    elif how.get("norms"):
        model = get_peft_model(base, LNTuningConfig(target_modules=how["norms"]))
    else:
        model = get_peft_model(base, LoraConfig(**{"task_type": task, **how["lora"]}))
    if how.get("start", "graft") == "graft" and not how.get("biases"):
        saved = load_file(os.path.join(case["initial"], "adapter_model.safetensors"))
        missing = set_peft_model_state_dict(model, saved)
        assert not missing.unexpected_keys, missing.unexpected_keys
    if how.get("converted"):
        model.peft_config["default"].init_lora_weights = True
        model.save_pretrained(how["converted"] + "_initial")
    found = {}
    if how.get("start") == "own" or how.get("residual"):
        found["start_difference"] = start_difference(model, case)
    for name, parameter in model.named_parameters():
        if any(part in name for part in how.get("freeze", [])):
            parameter.requires_grad_(False)
    logits = lambda m: m(input_ids=ids, attention_mask=mask).logits.detach().flatten().tolist()
    model.eval()
    found["logits_before"] = logits(model)
    optimizer = optimizer_of(model, case)
    found["losses"] = []
    for _ in range(case["steps"]):
        loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found["losses"].append(loss.item())
    found["logits"] = logits(model)
    found["trained_parameters"] = sum(p.numel() for p in model.parameters() if p.requires_grad)
    if how.get("converted"):
        model.save_pretrained(
            how["converted"], path_initial_model_for_weight_conversion=how["converted"] + "_initial"
        )
    found["graft_logits"] = logits(loaded(case))
    return found


json.dump([run(case) for case in json.load(sys.stdin)], sys.stdout)
