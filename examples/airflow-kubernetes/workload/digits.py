"""The data as the steps hand it on: three splits of normalised digits."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from workload import bucket
from workload.arrays import Arrays, pack, unpack
from workload.errors import MissingObjectError
from workload.network import Floats, Labels

_SPLITS = ("train", "validation", "test")
_NAMES = frozenset(f"{kind}_{split}" for kind in "xy" for split in _SPLITS)


@dataclass(frozen=True)
class Split:
    x: Floats
    y: Labels


@dataclass(frozen=True)
class Digits:
    """`digest` names the very bytes: a checkpoint is only taken up on the data it was made on."""

    train: Split
    validation: Split
    test: Split
    digest: str = ""


def save(digits: Digits, url: str) -> None:
    arrays: Arrays = {}
    for name in _SPLITS:
        split: Split = getattr(digits, name)
        arrays |= {f"x_{name}": split.x, f"y_{name}": split.y}
    bucket.write(url, pack(arrays))


def load(url: str) -> Digits:
    try:
        data = bucket.read(url)
    except MissingObjectError as error:
        raise MissingObjectError(
            f"no training data at {url}: run tasks/data_preprocessing.yaml first, with the same RUN_NAME and DATA_BUCKET_URL "
            "(without a bucket the steps must share a cluster)"
        ) from error
    arrays = unpack(data, url, _NAMES)
    splits = {name: Split(arrays[f"x_{name}"].astype(np.float32), arrays[f"y_{name}"].astype(np.int64)) for name in _SPLITS}
    return Digits(**splits, digest=hashlib.sha256(data).hexdigest())
