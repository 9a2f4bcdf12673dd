"""Settings of a run, from `[tool.flwr.app.config]` and `--run-config`."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

AGGREGATIONS = ("stack", "average", "private")
ROBUST = ("none", "median", "trimmed-mean", "krum", "multi-krum")
PRIVACY = ("none", "fixed", "adaptive")


class SettingError(ValueError):
    """A setting that cannot be used; its text names it, its value and what to do."""


@dataclass(frozen=True)
class Settings:
    """All settings; a name has `_` where that of the run configuration has `-`. See docs/fleet.md."""

    aggregation: str = "stack"
    rounds: int = 10
    fraction: float = 1.0
    fraction_evaluate: float = 0.0
    min_boxes: int = 2
    min_replies: int = 2
    reply_share: float = 1.0
    round_timeout: float = 3600.0
    rank: int = 8
    global_rank: int = 0
    max_rank: int = 256
    lora_alpha: float = 16.0
    target_modules: str = "q,v"
    learning_rate: float = 2e-4
    max_steps: int = 50
    batch_size: int = 4
    seed: int = 0
    base_digest: str = ""
    norm_limit: float = 2.0
    examples_limit: float = 3.0
    robust: str = "none"
    malicious: int = 0
    trim: float = 0.2
    dp: str = "none"
    noise_multiplier: float = 1.0
    clipping_norm: float = 1.0
    dp_delta: float = 1e-5
    initial_adapter: str = ""
    save_path: str = "fleet-adapter"
    resume: bool = False

    @property
    def parts(self) -> str:
        """What travels of a low-rank layer."""
        return "B" if self.aggregation == "private" else "AB"

    @property
    def saved_rank(self) -> int:
        """Rank of the global adapter."""
        return (self.global_rank or self.rank) if self.aggregation == "stack" else self.rank

    @property
    def modules(self) -> list[str]:
        """Names of the modules to adapt."""
        return [name for name in map(str.strip, self.target_modules.split(",")) if name]


def read_settings(config: Mapping[str, object]) -> Settings:
    """Settings of a run's configuration; those that are absent keep their defaults."""
    known = {field.name.replace("_", "-"): field for field in fields(Settings)}
    values: dict[str, object] = {}
    for name, value in config.items():
        field = known.get(name)
        if field is None:
            raise SettingError(f"{name} is no setting: known are {', '.join(known)}")
        kind = field.type
        if kind is float and type(value) is int:
            value = float(value)
        if type(value) is not kind:
            raise SettingError(
                f"{name} must be of type {kind.__name__}: current value is {value!r}"
            )
        values[field.name] = value
    settings = Settings(**values)
    _check(settings)
    return settings


def _check(s: Settings) -> None:
    _one_of("aggregation", s.aggregation, AGGREGATIONS)
    _one_of("robust", s.robust, ROBUST)
    _one_of("dp", s.dp, PRIVACY)
    counts = ("rounds", "min-boxes", "min-replies", "rank", "max-rank", "max-steps", "batch-size")
    for name in counts:
        _within(s, name, 1, 2**31 - 1)
    for name in ("global-rank", "malicious", "seed"):
        _within(s, name, 0, 2**31 - 1)
    _within(s, "fraction-evaluate", 0.0, 1.0)
    for name in (
        "round-timeout",
        "lora-alpha",
        "learning-rate",
        "noise-multiplier",
        "clipping-norm",
    ):
        if not 0 < getattr(s, name.replace("-", "_")) < float("inf"):
            raise SettingError(f"{name} must be > 0: current value is {_value(s, name)}")
    for name in ("norm-limit", "examples-limit"):
        value = _value(s, name)
        if value != 0 and not 1 <= value < float("inf"):
            raise SettingError(f"{name} must be 0 (no limit) or >= 1: current value is {value}")
    for name in ("fraction", "reply-share"):
        if not 0 < _value(s, name) <= 1:
            raise SettingError(f"{name} must be in (0, 1]: current value is {_value(s, name)}")
    if not 0 <= s.trim < 0.5:
        raise SettingError(f"trim must be in [0, 0.5): current value is {s.trim}")
    if not 0 < s.dp_delta < 1:
        raise SettingError(f"dp-delta must be in (0, 1): current value is {s.dp_delta}")
    if not s.modules:
        raise SettingError("target-modules names no module")
    if max(s.rank, s.global_rank) > s.max_rank:
        raise SettingError(f"rank and global-rank must be at most max-rank, {s.max_rank}")
    if s.min_replies > s.min_boxes:
        raise SettingError(
            f"min-replies must be at most min-boxes, {s.min_boxes}: current value is {s.min_replies}"
        )
    if s.robust != "none" and s.aggregation == "stack":
        raise SettingError(
            f'robust = "{s.robust}" compares arrays number by number, which products in stack do not '
            'allow: take aggregation = "average" or "private"'
        )
    if s.dp != "none" and (s.aggregation != "private" or s.robust != "none"):
        raise SettingError(
            'dp needs aggregation = "private" and robust = "none": noise on A and B would be multiplied'
        )


def _value(s: Settings, name: str):
    return getattr(s, name.replace("-", "_"))


def _one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise SettingError(
            f"{name} must be one of {', '.join(choices)}: current value is {value!r}"
        )


def _within(s: Settings, name: str, least: float, most: float) -> None:
    if not least <= _value(s, name) <= most:
        raise SettingError(
            f"{name} must be between {least} and {most}: current value is {_value(s, name)}"
        )
