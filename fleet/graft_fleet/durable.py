"""Files that are whole after a power loss, or not there."""

import os
import shutil
from pathlib import Path


def write_folder(folder: Path, files: dict[str, bytes]) -> None:
    """Write a folder of files under another name, synced, then give it its name."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    for name, data in files.items():
        with (unfinished / name).open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    _sync(unfinished)
    # What is there was never recorded as a round that ended.
    shutil.rmtree(folder, ignore_errors=True)
    unfinished.rename(folder)
    _sync(folder.parent)


def append_line(path: Path, line: str) -> None:
    """Append a line and sync; a line without its end, from a power loss, is overwritten."""
    whole = path.read_bytes() if path.exists() else b""
    end = whole.rfind(b"\n") + 1
    with path.open("r+b" if path.exists() else "xb") as file:
        file.truncate(end)
        file.seek(end)
        file.write(line.encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
