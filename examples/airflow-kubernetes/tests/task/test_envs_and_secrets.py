"""Envs and secrets that are laid over a task's own."""

from __future__ import annotations

import json

from sky_orchestrate.settings import Settings
from tests.task.conftest import RUN, refused, text


def test_envs_are_laid_over_the_tasks_own_as_text(settings: Settings) -> None:
    task = text(settings, f"envs: {{EPOCHS: 10, RATE: }}\n{RUN}", envs={"RATE": 0.1, "NEW": "x", "EPOCHS": 20})
    assert task.config["envs"] == {"EPOCHS": "20", "RATE": "0.1", "NEW": "x"}
    assert "is given as nothing" in str(refused(settings, RUN, envs={"A": None}))
    assert "A B" in str(refused(settings, RUN, envs={"A B": "x"}))
    assert "a list" in str(refused(settings, RUN, envs={"A": [1]}))


def test_a_secrets_value_is_in_secrets_alone(settings: Settings) -> None:
    task = text(settings, f"secrets: {{TOKEN: , KEY: in-file-hunter2}}\n{RUN}", secrets={"TOKEN": "hunter2", "EXTRA": "hunter2"})
    assert task.secrets == {"TOKEN": "hunter2", "KEY": "in-file-hunter2", "EXTRA": "hunter2"}
    assert task.config["secrets"] == {"TOKEN": None, "KEY": None, "EXTRA": None}
    assert "hunter2" not in repr(task) + json.dumps(task.config)


def test_a_name_declared_secret_is_refused_as_an_env(settings: Settings) -> None:
    for yaml_text, secrets in (
        (f"secrets: {{TOKEN: x}}\n{RUN}", {}),
        (f"secrets: ['secrets:team.TOKEN']\n{RUN}", {}),
        (RUN, {"TOKEN": "x"}),
    ):
        told = refused(settings, yaml_text, envs={"TOKEN": "hunter2"}, secrets=secrets)
        assert told.field == "envs.TOKEN"
        assert "hunter2" not in str(told)


def test_a_secret_for_a_name_declared_as_env_makes_it_secret(settings: Settings) -> None:
    task = text(settings, f"envs: {{TOKEN: , A: b}}\n{RUN}", secrets={"TOKEN": "hunter2"})
    assert task.config["envs"] == {"A": "b"}
    assert task.secrets == {"TOKEN": "hunter2"}


def test_skypilots_managed_secrets_stay_as_they_are(settings: Settings) -> None:
    assert text(settings, f"secrets: ['secrets:TOKEN']\n{RUN}").config["secrets"] == ["secrets:TOKEN"]
    mixed = text(settings, f"secrets: {{'secrets:TOKEN': , KEY: x}}\n{RUN}")
    assert mixed.config["secrets"] == {"secrets:TOKEN": None, "KEY": None}


def test_a_secret_that_is_no_text_is_refused_without_its_value(settings: Settings) -> None:
    told = refused(settings, RUN, secrets={"TOKEN": ["hunter2"]})
    assert "secrets.TOKEN: is given as a list" in str(told)
    assert "hunter2" not in str(told)
