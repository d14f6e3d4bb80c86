"""Infra and resources that are laid over a task's own."""

from __future__ import annotations

from typing import Any

import pytest

from sky_orchestrate.settings import Settings
from tests.task.conftest import RUN, refused, text


@pytest.mark.parametrize(
    ("own", "laid"),
    [
        ("{infra: k8s, accelerators: H100:1}", {"infra": "slurm", "accelerators": "H100:1"}),
        ("{cloud: aws, region: us-east-1, zone: us-east-1a, cpus: 2}", {"infra": "slurm", "cpus": 2}),
        ("{any_of: [{infra: aws}, {infra: gcp}], cpus: 2}", {"infra": "slurm", "cpus": 2}),
        ("{any_of: [{infra: aws, cpus: 4}, {infra: gcp, cpus: 4}]}", {"infra": "slurm", "cpus": 4}),
        (
            "{ordered: [{infra: aws, accelerators: H100:1}, {cloud: gcp, accelerators: A100:1}]}",
            {"infra": "slurm", "ordered": [{"accelerators": "H100:1"}, {"accelerators": "A100:1"}]},
        ),
    ],
)
def test_the_infra_takes_the_place_of_every_cloud_named(settings: Settings, own: str, laid: dict[str, Any]) -> None:
    assert text(settings, f"resources: {own}\n{RUN}", infra="slurm").config["resources"] == laid
    assert text(Settings(settings.root, "x", "x", infra="slurm"), f"resources: {own}\n{RUN}").config["resources"] == laid


def test_a_task_without_resources_gets_the_infra_too(settings: Settings) -> None:
    assert text(settings, RUN, infra="aws/us-east-1").config["resources"] == {"infra": "aws/us-east-1"}
    assert "resources" not in text(settings, RUN).config
    assert "did you mean" in str(refused(settings, RUN, infra="slrum"))


def test_resources_are_laid_over_every_alternative(settings: Settings) -> None:
    own = "{any_of: [{infra: aws, accelerators: H100:1}, {infra: gcp}], accelerators: A100:1}"
    laid = text(settings, f"resources: {own}\n{RUN}", resources={"accelerators": "L4:2"}).config["resources"]
    assert laid == {"any_of": [{"infra": "aws", "accelerators": "L4:2"}, {"infra": "gcp"}], "accelerators": "L4:2"}
    assert "did you mean `accelerators`" in str(refused(settings, RUN, resources={"acelerators": "L4"}))
    assert "cannot take" in str(refused(settings, RUN, resources={"cpus": object()}))
    assert "no GPU" in str(refused(settings, RUN, resources={"accelerators": "two H100"}))
