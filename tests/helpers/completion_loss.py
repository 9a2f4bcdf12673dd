"""The loss of a language model over the completions of chats, by transformers.

Reads from stdin {"base": dir, "data": JSONL with prompts and completions}, and writes {"loss": mean
cross-entropy of a completion's tokens, "count": their number}.
"""
import json
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

case = json.load(sys.stdin)
tokenizer = AutoTokenizer.from_pretrained(case["base"])
model = AutoModelForCausalLM.from_pretrained(case["base"])


def encode(text):
    return tokenizer(text, add_special_tokens=False, return_tensors="pt").input_ids


total = count = 0
with open(case["data"]) as lines:
    for row in map(json.loads, lines):
        user = {"role": "user", "content": row["prompt"]}
        chat = [user, {"role": "assistant", "content": row["completion"]}]
        prompt = encode(tokenizer.apply_chat_template([user], tokenize=False, add_generation_prompt=True))
        ids = encode(tokenizer.apply_chat_template(chat, tokenize=False))
        with torch.no_grad():
            log = model(ids).logits[0].log_softmax(-1)
        for t in range(prompt.shape[1], ids.shape[1]):
            total -= log[t - 1, ids[0, t]].item()
            count += 1
json.dump({"loss": total / count, "count": count}, sys.stdout)
