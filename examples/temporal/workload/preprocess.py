"""Step 1: scikit-learn's digits, shuffled, split and normalised, into the bucket."""

from __future__ import annotations

import numpy as np

from workload import digits
from workload.digits import Digits, Split
from workload.network import Floats, Labels
from workload.settings import Settings
from workload.step import log, output, run

_TRAIN, _VALIDATION = 0.7, 0.15


def preprocess(settings: Settings) -> None:
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    data = split_and_normalise(x.astype(np.float32), y.astype(np.int64), seed=settings.seed)
    rows = {name: len(getattr(data, name).y) for name in ("train", "validation", "test")}
    log(f"{len(y)} digits: " + ", ".join(f"{count} for {name}" for name, count in rows.items()))
    digits.save(data, settings.data_url)
    log(f"written to {settings.data_url}")
    output(data_url=settings.data_url, train_rows=rows["train"], validation_rows=rows["validation"], test_rows=rows["test"])


def split_and_normalise(x: Floats, y: Labels, *, seed: int) -> Digits:
    """Mean and spread come from the training rows alone, so that nothing of the test leaks into the training."""
    order = np.random.default_rng(seed).permutation(len(y))
    train, validation, test = np.split(order, [int(len(y) * _TRAIN), int(len(y) * (_TRAIN + _VALIDATION))])
    mean, spread = x[train].mean(axis=0), x[train].std(axis=0)
    normal = ((x - mean) / np.where(spread == 0, 1, spread)).astype(np.float32)
    splits = [Split(normal[rows], y[rows]) for rows in (train, validation, test)]
    return Digits(train=splits[0], validation=splits[1], test=splits[2])


if __name__ == "__main__":
    run(preprocess)
