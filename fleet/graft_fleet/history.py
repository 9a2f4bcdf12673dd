"""What a run leaves: an adapter for each round, and a line for each in `rounds.jsonl`."""

import json
from dataclasses import dataclass
from pathlib import Path

from . import peft_files
from .adapter import Adapter
from .durable import append_line
from .layout import join, with_rank
from .seeded import seeded_a
from .settings import SettingError, Settings

RECORD = "rounds.jsonl"
FIXED = ("aggregation", "rank", "global-rank", "lora-alpha", "seed")
"""Settings that a run goes on with."""


@dataclass(frozen=True)
class Start:
    """The adapter that a run begins with (None: every box draws the same one) and rounds done before."""

    adapter: Adapter | None
    rounds: int


class History:
    """The folder of a run."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder = Path(settings.save_path)

    def start(self) -> Start:
        """Where to begin: after the last round of the folder, from another adapter, or at the base."""
        s = self._settings
        lines = self._lines()
        if lines and not s.resume:
            raise SettingError(
                f"save-path has a run of {len(lines)} lines already: take resume=true to go on with "
                f"it, or another folder: current value is {self._folder}"
            )
        rounds = [line["round"] for line in lines if line.get("saved")]
        if rounds:
            adapter, card = peft_files.load(self._round_folder(rounds[-1]))
            for name, value in self._fixed().items():
                if card.get(name) != value:
                    raise SettingError(
                        f"{name} of the run in {self._folder} is {card.get(name)}: current value is "
                        f"{value}"
                    )
            return Start(self._traveling(adapter), max(line["round"] for line in lines))
        done = max((line["round"] for line in lines), default=0)
        if not s.initial_adapter:
            return Start(None, done)
        adapter, _ = peft_files.load(Path(s.initial_adapter))
        return Start(self._fitting(adapter), done)

    def keep(self, number: int, adapter: Adapter | None, record: dict) -> None:
        """Save a round's adapter, if there is a new one, then its line."""
        if adapter is not None:
            frozen = [None] * len(adapter.layers)
            if adapter.parts == "B":
                frozen = seeded_a(adapter.layers, self._settings.seed)
            card = {"round": number, **self._fixed()}
            peft_files.save(self._round_folder(number), adapter, frozen, card)
        self._folder.mkdir(parents=True, exist_ok=True)
        line = {"round": number, **record, "saved": adapter is not None}
        append_line(self._folder / RECORD, json.dumps(line))

    def note(self, number: int, record: dict) -> None:
        """Add a line that is no round's end, such as an evaluation."""
        append_line(self._folder / RECORD, json.dumps({"round": number, **record}))

    def _round_folder(self, number: int) -> Path:
        return self._folder / f"round-{number:04d}"

    def _fixed(self) -> dict[str, object]:
        return {name: getattr(self._settings, name.replace("-", "_")) for name in FIXED}

    def _lines(self) -> list[dict]:
        path = self._folder / RECORD
        if not path.exists():
            return []
        text = path.read_text()
        # What follows the last line break was cut off by a power loss.
        lines = text[: text.rfind("\n") + 1].splitlines()
        try:
            return [json.loads(line) for line in lines]
        except ValueError:
            raise SettingError(f"{path}: a line of it is no JSON: take another save-path") from None

    def _traveling(self, adapter: Adapter) -> Adapter:
        """An adapter without A if A does not travel."""
        if self._settings.parts == "AB":
            return adapter
        matrices = [(None, b) for _, b in adapter.matrices]
        return Adapter(adapter.layers, join(matrices), "B", adapter.alpha)

    def _fitting(self, adapter: Adapter) -> Adapter:
        s = self._settings
        where = f"initial-adapter {s.initial_adapter}"
        if s.aggregation == "private":
            raise SettingError(
                f'{where}: with aggregation = "private" A is drawn from the seed: resume a run instead'
            )
        if adapter.alpha != s.lora_alpha or adapter.layers != with_rank(
            adapter.layers, s.saved_rank
        ):
            raise SettingError(
                f"{where}: all its layers must have rank {s.saved_rank} and lora_alpha {s.lora_alpha}"
            )
        return adapter
