"""What Temporal's server keeps of a run: no secret, not too much, and under a key nothing that can be read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from google.protobuf.message import Message
from temporalio.api.common.v1 import Payload, SearchAttributes
from temporalio.client import Client, WorkflowHandle

from temporal.connection import data_converter
from temporal.messages import SkyPilotWorkflowResult, SkySweepInput, SkyTaskInput
from temporal.sweep import SkySweepWorkflow
from tests.temporal.conftest import Site, failed, make_site, write_task
from tests.temporal.test_encryption import KEY

SECRET = "hf_do_not_show_0123456789"


async def kept(handle: WorkflowHandle[Any, Any]) -> bytes:
    """All that the server has of a run: its events with their payloads, as protocol buffers and as JSON, and its description."""
    history, described = await handle.fetch_history(), await handle.describe()
    events = b"".join(event.SerializeToString() for event in history.events)
    decoded = b"".join(payload.data for event in history.events for payload in payloads(event))
    return events + decoded + history.to_json().encode() + described.raw_description.SerializeToString()


def payloads(message: Message) -> Iterator[Payload]:
    """All payloads in it. Search attributes are the server's own to read."""
    if isinstance(message, Payload):
        yield message
        return
    for _, value in message.ListFields():
        parts: Any = value.values() if hasattr(value, "values") else [value] if isinstance(value, (Message, str, bytes)) else value
        for part in parts if hasattr(parts, "__iter__") else []:
            if isinstance(part, Message) and not isinstance(part, SearchAttributes):
                yield from payloads(part)


async def test_rule_10_no_secret_stands_in_the_history_of_a_run_whose_job_prints_it_and_fails(site: Site, project: Path) -> None:
    job = f"echo token $HF_TOKEN\necho '::sky-output::{json.dumps({'token': '$HF_TOKEN'})}'\nexit 3"
    write_task(project, "train", job, more="secrets: {HF_TOKEN: null}")
    for step in ("data_preprocessing", "eval"):
        write_task(project, step, "echo done", more="secrets: {HF_TOKEN: null}")
    site = site.with_variables(TEAM_TOKEN=SECRET)
    async with site.working():
        handle = await site.start_pipeline(secrets={"HF_TOKEN": "TEAM_TOKEN"}, attempts=2)
        error = await failed(handle)
    assert "token ***" in error.details[0]["log_tail"]
    told = await kept(handle)
    assert b"TEAM_TOKEN" in told
    assert b"disk" not in told
    assert SECRET.encode() not in told


async def test_rule_10_no_secret_stands_in_the_history_of_a_sweep_and_its_trials(site: Site, project: Path) -> None:
    write_task(project, "train", "echo token $HF_TOKEN\nexit 3", more="secrets: {HF_TOKEN: null}")
    site = site.with_variables(HF_TOKEN=SECRET)
    task = SkyTaskInput(yaml_path="tasks/train.yaml", secrets={"HF_TOKEN": "HF_TOKEN"}, attempts=1)
    async with site.working():
        handle = await site.start(SkySweepWorkflow.run, SkySweepInput([{"LEARNING_RATE": "0.1"}], task, prepare=""))
        await failed(handle)
    assert SECRET.encode() not in await kept(handle)
    assert SECRET.encode() not in await kept(site.client.get_workflow_handle(f"{handle.id}-1"))


async def test_a_history_stays_small(site: Site, project: Path) -> None:
    write_task(project, "train", "\n".join(f"echo {'x' * 300} {line}" for line in range(200)))
    async with site.working():
        handle = await site.start_pipeline()
        await handle.result()
    events = (await handle.fetch_history()).events
    assert len(events) < 120
    assert max(event.ByteSize() for event in events) < 64 * 1024


async def test_under_a_key_the_server_has_nothing_that_can_be_read(site: Site, address: str) -> None:
    encrypted = site.with_variables(TEMPORAL_ENCRYPTION_KEY=KEY)
    client = await Client.connect(address, data_converter=data_converter(encrypted.settings))
    encrypted = make_site(client, site.sky, site.settings.root)
    async with encrypted.working():
        handle = await encrypted.start_pipeline()
        result: SkyPilotWorkflowResult = await handle.result()
    assert result.accuracy == 0.97
    history = await handle.fetch_history()
    found = [payload for event in history.events for payload in payloads(event)]
    found += list(payloads((await handle.describe()).raw_description))
    assert len(found) > 20
    assert {payload.metadata["encoding"] for payload in found} == {b"binary/encrypted"}
    told = await kept(handle)
    assert b"proj-" not in told
    assert b"validation_accuracy" not in told


async def test_under_a_key_an_error_is_read_by_whoever_has_it(site: Site, project: Path, address: str) -> None:
    write_task(project, "data_preprocessing", "echo the disk is full\nexit 3")
    settings = site.with_variables(TEMPORAL_ENCRYPTION_KEY=KEY).settings
    encrypted = make_site(await Client.connect(address, data_converter=data_converter(settings)), site.sky, project)
    async with encrypted.working():
        handle = await encrypted.start_pipeline(attempts=1)
        error = await failed(handle)
    assert "the disk is full" in error.details[0]["log_tail"]
    assert b"disk" not in await kept(handle)
