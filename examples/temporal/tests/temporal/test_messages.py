"""Messages stand in histories: a worker reads those of an older and of a newer version."""

from __future__ import annotations

import dataclasses
import inspect
import json
from typing import Any

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.converter import DataConverter

from sky_orchestrate.result import TaskResult, Timings
from temporal import messages

KINDS = [kind for _, kind in inspect.getmembers(messages, inspect.isclass) if kind.__module__ == messages.__name__]


def decoded(kind: type[Any], said: dict[str, Any]) -> Any:
    payload = Payload(metadata={"encoding": b"json/plain"}, data=json.dumps(said).encode())
    return DataConverter.default.payload_converter.from_payloads([payload], [kind])[0]


def encoded(value: Any) -> dict[str, Any]:
    (payload,) = DataConverter.default.payload_converter.to_payloads([value])
    return json.loads(payload.data)


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_without_any_field_is_its_defaults(kind: type[Any]) -> None:
    assert decoded(kind, {}) == kind()


@pytest.mark.parametrize("kind", KINDS)
def test_each_field_of_a_message_may_be_missing(kind: type[Any]) -> None:
    whole = encoded(kind())
    for name in whole:
        assert decoded(kind, {key: value for key, value in whole.items() if key != name}) == kind()


@pytest.mark.parametrize("kind", KINDS)
def test_a_field_of_a_later_version_is_passed_over(kind: type[Any]) -> None:
    assert decoded(kind, {**encoded(kind()), "field_of_tomorrow": {"a": [1]}}) == kind()


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_does_not_change_under_way_and_cannot_be_changed(kind: type[Any]) -> None:
    assert decoded(kind, encoded(kind())) == kind()
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(kind(), dataclasses.fields(kind)[0].name, None)


def test_results_within_messages_come_back_as_such() -> None:
    result = TaskResult("proj-train-1", 1, "SUCCEEDED", Timings(1.0, 2.0, 3.0), {"accuracy": 0.97}, ["done"])
    status = messages.PipelineStatus("train", finished={"train": result})
    assert decoded(messages.PipelineStatus, encoded(status)) == status


def test_lists_of_trials_come_back_as_such() -> None:
    sweep = messages.SkySweepInput([{"A": "1"}], ended=[messages.Trial(1, {"A": "1"}, 0.5)])
    assert decoded(messages.SkySweepInput, encoded(sweep)) == sweep
