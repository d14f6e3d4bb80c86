"""kubectl, which is no Python package: where it is not installed, each manifest is still looked at by itself."""

from __future__ import annotations

import shutil

import pytest

# kustomize comes with it, so nothing here could stand in for it.
NEEDS_KUBECTL = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
