"""Named arrays as the bytes of an .npz file: plain numbers, no pickle, so that reading one runs no code."""

from __future__ import annotations

import io
import zipfile

import numpy as np
from numpy.typing import NDArray

from workload.errors import WorkloadError

Arrays = dict[str, NDArray[np.generic]]


def pack(arrays: Arrays) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def unpack(data: bytes, url: str, names: frozenset[str]) -> Arrays:
    """The arrays, at least those named."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except (ValueError, OSError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise WorkloadError(f"{url} is no .npz file, or damaged: remove it and run the step that makes it again") from error
    if missing := names - arrays.keys():
        raise WorkloadError(f"{url} lacks {', '.join(sorted(missing))}: run the step that makes it again")
    return arrays
