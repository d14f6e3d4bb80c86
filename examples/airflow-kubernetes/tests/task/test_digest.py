"""The digest tells whether two tasks do the same, whoever asks."""

from __future__ import annotations

import pytest

from sky_orchestrate.settings import Settings
from sky_orchestrate.task import load_task
from tests.task.conftest import RUN, text


def test_the_digest_is_that_of_what_the_task_does(settings: Settings) -> None:
    one = text(settings, f"envs: {{A: b, C: d}}\n{RUN}")
    assert one.digest == text(settings, f"{RUN}envs: {{C: d, A: b}}  # in another order\n").digest
    assert one.digest != text(settings, f"envs: {{A: b, C: d}}\n{RUN}", envs={"A": "x"}).digest
    assert one.digest != text(settings, f"envs: {{A: b, C: d}}\n{RUN}", infra="aws").digest
    with_secret = [text(settings, f"envs: {{A: b, C: d}}\n{RUN}", secrets={"TOKEN": value}).digest for value in ("1", "2")]
    assert with_secret[0] == with_secret[1] != one.digest


def test_the_digest_is_the_same_on_hosts_with_another_path(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    for root in (settings.root, other):
        (root / "train.yaml").write_text(f"workdir: .\n{RUN}")
    digests = {load_task("train.yaml", settings=Settings(root, "x", "x")).digest for root in (settings.root, other)}
    assert len(digests) == 1


def test_a_task_may_follow_on_a_cluster_that_was_set_up_alike(settings: Settings) -> None:
    train = text(settings, "setup: pip install $PACKAGE\nenvs: {PACKAGE: x, EPOCHS: 1}\nrun: train\n")
    assert train.setup_digest == text(settings, "setup: pip install $PACKAGE\nenvs: {PACKAGE: x}\nrun: eval\n").setup_digest
    assert train.setup_digest != text(settings, "setup: pip install $PACKAGE\nenvs: {PACKAGE: y}\nrun: eval\n").setup_digest
    assert train.setup_digest != text(settings, "setup: make\nrun: eval\n").setup_digest
