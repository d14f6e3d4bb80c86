"""Names that clouds neither fold nor cut, and that each attempt finds again."""

from __future__ import annotations

import re

import pytest

from sky_orchestrate.naming import RunKey, cluster_name, label

KEY = RunKey("owner", "run-1", "train")


def test_a_name_is_the_same_at_each_attempt() -> None:
    assert cluster_name("project", "train", KEY) == cluster_name("project", "train", RunKey("owner", "run-1", "train"))


@pytest.mark.parametrize("other", [RunKey("owner2", "run-1", "train"), RunKey("owner", "run-2", "train"), RunKey("owner", "run-1", "eval")])
def test_owner_run_and_step_each_tell_names_apart(other: RunKey) -> None:
    assert cluster_name("project", "train", KEY) != cluster_name("project", "train", other)


def test_parts_do_not_run_into_each_other() -> None:
    assert RunKey("a", "bc", "d").digest != RunKey("ab", "c", "d").digest


@pytest.mark.parametrize(
    ("prefix", "task"),
    [
        pytest.param("sky-train-pipeline", "data_preprocessing", id="long"),
        pytest.param("sweep-lr0.001-bs32", "train", id="dots"),
        pytest.param("", "", id="empty"),
        pytest.param("9lives", "1", id="digits first"),
        pytest.param("Ünïcode", "日本語", id="unicode"),
        pytest.param("-a-", "--b--", id="hyphens"),
        pytest.param("x" * 500, "y" * 500, id="very long"),
    ],
)
def test_every_name_suits_every_cloud(prefix: str, task: str) -> None:
    name = cluster_name(prefix, task, KEY)
    assert re.fullmatch(r"[a-z]([a-z0-9-]*[a-z0-9])?", name)
    assert len(name) <= 34
    assert "--" not in name


def test_a_safe_id_is_its_own_label() -> None:
    assert label("7f6c1e0a-9d3b-4f7e-8a51-0c2d5b6e9f10") == "7f6c1e0a-9d3b-4f7e-8a51-0c2d5b6e9f10"


@pytest.mark.parametrize("text", ["Run 1", "run.1", "scheduled__2026-11-21T00:00:00+00:00", "x" * 200, "", "日本"])
def test_any_id_becomes_a_label_that_clouds_accept(text: str) -> None:
    assert re.fullmatch(r"[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?", label(text))


def test_two_ids_never_become_one_label() -> None:
    assert len({label(text) for text in ("run 1", "run.1", "Run-1", "run-1")}) == 4
