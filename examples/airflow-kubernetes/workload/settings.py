"""What a step is told, from its environment: the `envs` of a task file, with defaults for `sky launch` alone."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from workload.bucket import bucket_url, checked
from workload.errors import SettingError

Number = TypeVar("Number", int, float)


@dataclass(frozen=True)
class Settings:
    """`run` keeps the data and models of two runs in one bucket apart; a trial is one choice of hyperparameters within a run."""

    bucket: str
    run: str
    seed: int
    epochs: int
    learning_rate: float
    batch_size: int
    checkpoint_every: int
    min_accuracy: float
    other_model_url: str

    @property
    def data_url(self) -> str:
        return f"{self.bucket}/{self.run}/data/digits.npz"

    @property
    def trial_url(self) -> str:
        trial = f"epochs{self.epochs}-lr{self.learning_rate}-batch{self.batch_size}-seed{self.seed}"
        return f"{self.bucket}/{self.run}/models/{trial}"

    @property
    def checkpoint_url(self) -> str:
        return f"{self.trial_url}/checkpoint.npz"

    @property
    def model_url(self) -> str:
        return self.other_model_url or f"{self.trial_url}/model.npz"


def load_settings(environ: Mapping[str, str]) -> Settings:
    """An empty variable counts as not set: so a task file can name it without choosing."""
    run = environ.get("RUN_NAME", "").strip() or "default"
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", run):
        raise SettingError(f"RUN_NAME is {run!r}: letters, digits, '.', '_' and '-', at most 100, the first a letter or digit")
    model_url = environ.get("MODEL_URL", "").strip()
    return Settings(
        bucket=bucket_url(environ),
        run=run,
        seed=_number(environ, "SEED", int, default=0, least=0, most=2**32 - 1),
        epochs=_number(environ, "EPOCHS", int, default=30, least=1, most=100_000),
        learning_rate=_number(environ, "LEARNING_RATE", float, default=0.1, least=1e-9, most=1e3),
        batch_size=_number(environ, "BATCH_SIZE", int, default=32, least=1, most=100_000),
        checkpoint_every=_number(environ, "CHECKPOINT_EVERY", int, default=5, least=1, most=100_000),
        min_accuracy=_number(environ, "MIN_ACCURACY", float, default=0.95, least=0.0, most=1.0),
        other_model_url=checked(model_url, "MODEL_URL") if model_url else "",
    )


def _number(environ: Mapping[str, str], name: str, kind: Callable[[str], Number], *, default: Number, least: float, most: float) -> Number:
    text = environ.get(name, "").strip()
    try:
        value = kind(text) if text else default
    except ValueError:
        value = None
    if value is None or not math.isfinite(value) or not least <= value <= most:
        raise SettingError(f"{name} is {text!r}: {'a whole number' if kind is int else 'a number'} from {least:g} to {most:g}")
    return value
