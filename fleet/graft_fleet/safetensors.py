"""Files of float32 tensors in the safetensors format (https://github.com/huggingface/safetensors)."""

import json
import struct
from pathlib import Path

import numpy as np


def encode(tensors: dict[str, np.ndarray]) -> bytes:
    """The file of tensors, in their order."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    at = 0
    parts: list[bytes] = []
    for name, tensor in tensors.items():
        data = np.ascontiguousarray(tensor, np.dtype("<f4")).tobytes()
        header[name] = {
            "dtype": "F32",
            "shape": list(tensor.shape),
            "data_offsets": [at, at + len(data)],
        }
        at += len(data)
        parts.append(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([struct.pack("<Q", len(text)), text, *parts])


def load(path: Path) -> dict[str, np.ndarray]:
    """Tensors of a file by name; raises ValueError for one that is no file of float32 tensors."""
    data = path.read_bytes()
    try:
        (length,) = struct.unpack_from("<Q", data)
        header = json.loads(data[8 : 8 + length])
        body = memoryview(data)[8 + length :]
        tensors: dict[str, np.ndarray] = {}
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            if entry["dtype"] != "F32":
                raise ValueError(f'tensor "{name}" is {entry["dtype"]}: only F32 is read')
            begin, end = entry["data_offsets"]
            tensors[name] = np.frombuffer(body[begin:end], "<f4").reshape(entry["shape"])
        return tensors
    except (struct.error, KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{path}: it is no safetensors file of float32 tensors: {error}") from None
