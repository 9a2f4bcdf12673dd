"""Adapters as folders that PEFT and graft read."""

import json
import math
from pathlib import Path

import numpy as np

from . import safetensors
from .adapter import Adapter
from .durable import write_folder
from .layout import Layer, Layers, Matrices, format_layers, join, parse_layers
from .settings import SettingError

PREFIX = "base_model.model."
CONFIG, TENSORS, HEAD, CARD = (
    "adapter_config.json",
    "adapter_model.safetensors",
    "head.safetensors",
    "fleet.json",
)
HEAD_NAMES = ("head.weight", "head.bias")


def save(folder: Path, adapter: Adapter, frozen: list[np.ndarray | None], card: dict) -> None:
    """Write an adapter under a new name, whole or not at all.

    `frozen` has A of each layer where A does not travel; `card` goes into `fleet.json` with the layout.
    A classifier that graft added to the model is in a file of its own, as graft keeps it.
    """
    tensors: dict[str, np.ndarray] = {}
    head: dict[str, np.ndarray] = {}
    names: list[str] = []
    for layer, (a, b), fixed in zip(adapter.layers, adapter.matrices, frozen, strict=True):
        if layer.rank:
            tensors[f"{PREFIX}{layer.name}.lora_A.weight"] = fixed if a is None else a
            tensors[f"{PREFIX}{layer.name}.lora_B.weight"] = b
            names.append(layer.name)
        elif layer.name in HEAD_NAMES:
            head[layer.name] = _full_tensor(layer, b)
        else:
            tensors[f"{PREFIX}{layer.name}"] = _full_tensor(layer, b)
    files = {
        CONFIG: _text(_peft_config(adapter, names)),
        TENSORS: safetensors.encode(tensors),
        CARD: _text({**card, "layers": json.loads(format_layers(adapter.layers))}),
    }
    if head:
        files[HEAD] = safetensors.encode(head)
    write_folder(folder, files)


def _full_tensor(layer: Layer, values: np.ndarray) -> np.ndarray:
    """Biases are vectors."""
    return values.reshape(-1) if layer.name.endswith(".bias") and layer.inputs == 1 else values


def _text(value: object) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()


def _peft_config(adapter: Adapter, names: list[str]) -> dict:
    saved = [
        layer.name.removesuffix(".weight")
        for layer in adapter.layers
        if layer.rank == 0 and layer.name.endswith(".weight") and layer.name not in HEAD_NAMES
    ]
    return {
        "peft_type": "LORA",
        "task_type": None,
        "base_model_name_or_path": None,
        "r": max((layer.rank for layer in adapter.layers), default=0),
        "lora_alpha": adapter.alpha,
        "target_modules": names,
        "modules_to_save": saved or None,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "init_lora_weights": True,
        "inference_mode": True,
    }


def load(folder: Path) -> tuple[Adapter, dict]:
    """Read an adapter and its `fleet.json` (empty without one); SettingError says what does not fit.

    All of A and B is read, so that `parts` is "AB". Without `fleet.json` the layers are in the order of
    the tensors' file, as graft and PEFT write them.
    """
    try:
        config = json.loads((folder / CONFIG).read_text())
        tensors = safetensors.load(folder / TENSORS)
        if (folder / HEAD).exists():
            tensors |= safetensors.load(folder / HEAD)
        card = json.loads((folder / CARD).read_text()) if (folder / CARD).exists() else {}
    except (OSError, ValueError) as error:
        raise SettingError(f"{folder}: the adapter cannot be read: {error}") from None
    alpha = config.get("lora_alpha")
    if config.get("peft_type") != "LORA" or not isinstance(alpha, (int, float)):
        raise SettingError(f"{folder / CONFIG}: it is no LoRA adapter with a lora_alpha")
    for name in ("use_dora", "use_rslora", "alpha_pattern"):
        if config.get(name):
            raise SettingError(f"{folder / CONFIG}: {name} is not supported in a fleet")
    layers = parse_layers(json.dumps(card["layers"])) if card else _layers_of(tensors, folder)
    try:
        matrices = [_matrices(layer, tensors) for layer in layers]
    except (KeyError, ValueError):
        raise SettingError(f"{folder}: tensors and {CARD} do not belong together") from None
    adapter = Adapter(layers, join(matrices), "AB", float(alpha))
    if not np.all(np.isfinite(adapter.vector)) or not math.isfinite(alpha):
        raise SettingError(f"{folder}: the adapter has numbers that are not finite")
    return adapter, card


def _layers_of(tensors: dict[str, np.ndarray], folder: Path) -> Layers:
    layers: list[Layer] = []
    for name, tensor in tensors.items():
        path = name.removeprefix(PREFIX)
        if path.endswith(".lora_A.weight"):
            path = path.removesuffix(".lora_A.weight")
            other = tensors.get(f"{PREFIX}{path}.lora_B.weight")
            if other is None or other.ndim != 2 or tensor.ndim != 2:
                raise SettingError(f"{folder / TENSORS}: layer {path} has no B")
            layers.append(Layer(path, tensor.shape[0], tensor.shape[1], other.shape[0]))
        elif not path.endswith(".lora_B.weight"):
            if tensor.ndim not in (1, 2):
                raise SettingError(f"{folder / TENSORS}: tensor {path} is no matrix or vector")
            columns = tensor.shape[1] if tensor.ndim == 2 else 1
            layers.append(Layer(path, 0, columns, tensor.shape[0]))
    return tuple(layers)


def _matrices(layer: Layer, tensors: dict[str, np.ndarray]) -> Matrices:
    if layer.rank == 0:
        name = layer.name if layer.name in HEAD_NAMES else f"{PREFIX}{layer.name}"
        return (None, tensors[name].reshape(layer.outputs, layer.inputs))
    a = tensors[f"{PREFIX}{layer.name}.lora_A.weight"]
    b = tensors[f"{PREFIX}{layer.name}.lora_B.weight"]
    return (a.reshape(layer.rank, layer.inputs), b.reshape(layer.outputs, layer.rank))
