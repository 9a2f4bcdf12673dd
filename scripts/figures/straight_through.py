"""What a LoRA keeps that has seen the grid: in the last share of training the forward pass sees
round(W + dW) with straight-through gradients, codes rounded to nearest on the blocks' own scales.

Why graft has no such training: a change of a few thousandths of the weights moves hardly any code, so
that rounded weights, whatever the gradient says, are the base's. Adapters of scales (graft train
--adapter-type scales) are trained on the grid from the first step.

usage: straight_through.py MODEL.onnx DATA [--rank 16] [--alpha 32] [--lr 5e-4] [--steps 48]
         [--share 0.25] [--rates 1,10]

MODEL is SmolLM2 in blocks of 4 bits, DATA a folder with train.jsonl and valid.jsonl of texts, such as
FOLDER/plain after scripts/figures/merges.ts --workloads plain --keep FOLDER. --rates are factors on the learning rate from where rounding is seen. Prints a JSON line each for the LoRA, for
it rounded, and for each rate: loss, share of the LoRA's gain kept, share of codes that changed. Needs
torch, transformers and onnx.
"""
import argparse
import copy
import json
import os

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch.nn import functional
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
BATCH = 4
SMOLLM2 = LlamaConfig(
    hidden_size=576,
    intermediate_size=1536,
    num_hidden_layers=30,
    num_attention_heads=9,
    num_key_value_heads=3,
    vocab_size=49152,
    rope_theta=100000.0,
    rms_norm_eps=1e-5,
    tie_word_embeddings=True,
)


class Blocks:
    """A matrix in blocks of 4 bits: codes from 0 to 15, 8 stands for zero."""

    def __init__(self, codes, scales):
        self.codes, self.scales = codes, scales

    def values(self):
        blocks = self.codes.reshape(*self.scales.shape, -1) - 8.0
        return (blocks * self.scales[..., None]).reshape(self.codes.shape)

    def rounded(self, weights):
        blocks = weights.reshape(*self.scales.shape, -1)
        steps = self.scales[..., None]
        safe = torch.where(steps == 0, torch.ones_like(steps), steps)
        codes = torch.clamp(torch.round(blocks / safe) + 8.0, 0, 15)
        return Blocks(codes.reshape(weights.shape), self.scales)

    def rows(self, start, end):
        return Blocks(self.codes[start:end], self.scales[start:end])


class Adapted(torch.nn.Module):
    """A frozen matrix with its LoRA, the sum seen as it is or rounded."""

    def __init__(self, blocks, rank, alpha):
        super().__init__()
        self.blocks, self.scale, self.sees_grid = blocks, alpha / rank, False
        self.register_buffer("base", blocks.values())
        out, inner = self.base.shape
        bound = 1 / inner**0.5
        self.a = torch.nn.Parameter(torch.empty(rank, inner).uniform_(-bound, bound))
        self.b = torch.nn.Parameter(torch.zeros(out, rank))

    def merged(self):
        return self.base + self.scale * (self.b @ self.a)

    def forward(self, x):
        if not self.sees_grid:
            return functional.linear(x, self.base) + self.scale * ((x @ self.a.T) @ self.b.T)
        weights = self.merged()
        rounded = self.blocks.rounded(weights.detach()).values()
        return functional.linear(x, weights + (rounded - weights.detach()))

    def changed(self):
        with torch.no_grad():
            return (self.blocks.rounded(self.merged()).codes != self.blocks.codes).float().mean()


def stored_blocks(path):
    """Matrices by the name of their module; the fused q, k and v apart."""
    model = onnx.load(path)
    tensors = {value.name: numpy_helper.to_array(value) for value in model.graph.initializer}
    attention = next(node for node in model.graph.node if node.op_type == "GroupQueryAttention")
    heads = {value.name: value.i for value in attention.attribute}
    found = {}
    for node in model.graph.node:
        if node.op_type != "MatMulNBits":
            continue
        packed, scales = (tensors[name] for name in node.input[1:3])
        rows = packed.shape[0]
        codes = np.stack([packed & 15, packed >> 4], -1).reshape(rows, -1).astype(np.float32)
        blocks = Blocks(torch.tensor(codes), torch.tensor(scales.reshape(rows, -1)))
        name = node.name.strip("/").split("/MatMul")[0].replace("/", ".")
        name = name.replace(".attn.", ".self_attn.")
        if not name.endswith("qkv_proj"):
            found[name] = blocks
            continue
        size = rows // (heads["num_heads"] + 2 * heads["kv_num_heads"])
        ends = [heads["num_heads"] * size, (heads["num_heads"] + heads["kv_num_heads"]) * size]
        for part, start, end in zip("qkv", [0, *ends], [*ends, rows]):
            found[name.replace("qkv_proj", f"{part}_proj")] = blocks.rows(start, end)
    norms = {
        name.replace("layers.30.final_norm_layernorm", "norm"): torch.tensor(value.copy())
        for name, value in tensors.items()
        if name.endswith("norm.weight")
    }
    return found, norms


def load(path, rank, alpha):
    tokenizer = AutoTokenizer.from_pretrained(os.path.dirname(path))
    model = LlamaForCausalLM(SMOLLM2)
    blocks, norms = stored_blocks(path)
    head = blocks.pop("lm_head").values()
    values = {"lm_head.weight": head, "model.embed_tokens.weight": head, **norms}
    missing, unexpected = model.load_state_dict(values, strict=False)
    unknown = [name for name in missing if not name.endswith("_proj.weight")]
    assert not unexpected and not unknown, (unexpected, unknown)
    model.requires_grad_(False)
    adapted = []
    for name, matrix in blocks.items():
        parent, _, last = name.rpartition(".")
        assert last in PROJECTIONS, name
        adapted.append(Adapted(matrix, rank, alpha))
        setattr(model.get_submodule(parent), last, adapted[-1])
    return tokenizer, model, adapted


def batches(tokenizer, path):
    with open(path) as file:
        rows = [tokenizer(json.loads(line)["text"])["input_ids"] for line in file]
    for start in range(0, len(rows), BATCH):
        part = rows[start : start + BATCH]
        length = max(map(len, part))
        ids = torch.zeros(len(part), length, dtype=torch.long)
        mask, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
        for i, row in enumerate(part):
            ids[i, : len(row)] = torch.tensor(row)
            labels[i, : len(row)] = torch.tensor(row)
            mask[i, : len(row)] = 1
        yield {"input_ids": ids, "attention_mask": mask, "labels": labels}


def evaluated(model, data):
    total = count = 0
    with torch.no_grad():
        for batch in data:
            targets = int((batch["labels"][:, 1:] != -100).sum())
            total += model(**batch).loss.item() * targets
            count += targets
    return total / count


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("data")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--alpha", type=float, default=32)
    parser.add_argument("--lr", type=float, default=5e-4)
    parser.add_argument("--steps", type=int, default=48)
    parser.add_argument("--share", type=float, default=0.25)
    parser.add_argument("--rates", default="1,10")
    flags = parser.parse_args()
    torch.manual_seed(0)
    tokenizer, model, layers = load(flags.model, flags.rank, flags.alpha)
    train = list(batches(tokenizer, f"{flags.data}/train.jsonl"))
    valid = list(batches(tokenizer, f"{flags.data}/valid.jsonl"))
    parameters = [value for layer in layers for value in (layer.a, layer.b)]
    base = evaluated(model, valid)
    first = round(flags.steps * (1 - flags.share))

    def run(optimizer, steps, factor=1.0):
        for step in steps:
            for group in optimizer.param_groups:
                group["lr"] = factor * flags.lr * (1 - step / flags.steps)
            model(**train[step % len(train)]).loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            optimizer.zero_grad()

    optimizer = torch.optim.AdamW(parameters, lr=flags.lr, weight_decay=0.0)
    run(optimizer, range(first))
    values = [value.detach().clone() for value in parameters]
    state = copy.deepcopy(optimizer.state_dict())
    run(optimizer, range(first, flags.steps))
    adapter = evaluated(model, valid)

    def tell(what, loss):
        line = {
            "what": what,
            "loss": loss,
            "gain_kept": (base - loss) / (base - adapter),
            "changed_codes": float(torch.stack([layer.changed() for layer in layers]).mean()),
        }
        print(json.dumps(line), flush=True)

    print(json.dumps({"what": "base", "loss": base}), flush=True)
    tell("base + adapter", adapter)
    for layer in layers:
        layer.sees_grid = True
    tell("rounded to nearest", evaluated(model, valid))
    for factor in map(float, flags.rates.split(",")):
        with torch.no_grad():
            for parameter, value in zip(parameters, values):
                parameter.copy_(value)
        optimizer = torch.optim.AdamW(parameters, lr=flags.lr, weight_decay=0.0)
        optimizer.load_state_dict(copy.deepcopy(state))
        run(optimizer, range(first, flags.steps), factor)
        what = f"grid seen in the last {flags.share:.0%}, rate times {factor:g}"
        tell(what, evaluated(model, valid))


main()
