"""What the doctor finds, line by line, and what it says to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from sky_orchestrate import errors
from sky_orchestrate.cluster import Server
from sky_orchestrate.doctor import Finding, examine
from sky_orchestrate.settings import Settings


@dataclass
class Patient:
    """A server with some infra and GPUs, or an error in place of an answer."""

    infra: Sequence[str] = ("slurm/local",)
    gpus: Mapping[str, Mapping[str, Sequence[float]] | Exception] = field(default_factory=lambda: {"slurm/local": {"H100": [1, 2, 4]}})
    unwell: Exception | None = None
    refuses: Exception | None = None

    async def server(self) -> Server:
        if self.unwell:
            raise self.unwell
        return Server("0.14.1", 62, "ann")

    async def enabled_infra(self) -> Sequence[str]:
        if self.refuses:
            raise self.refuses
        return self.infra

    async def accelerators(self, infra: str) -> Mapping[str, Sequence[float]]:
        found = self.gpus.get(infra, {})
        if isinstance(found, Exception):
            raise found
        return found


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(tmp_path, "project", "project", endpoint="http://127.0.0.1:46580", bucket="s3://ours")


async def found(settings: Settings, patient: Patient, *resources: str) -> dict[str, Finding]:
    paths: list[Path] = []
    for number, one in enumerate(resources):
        paths.append(settings.root / f"task{number}.yaml")
        paths[-1].write_text(f"name: task{number}\nresources: {one}\nrun: x\n")
    return {finding.what: finding async for finding in examine(settings, patient, paths)}


async def test_all_is_well(settings: Settings) -> None:
    findings = await found(settings, Patient(), "{infra: slurm/local, accelerators: H100:2}", "{cpus: 2}")
    assert all(finding.ok for finding in findings.values())
    assert list(findings) == ["tasks", "bucket", "endpoint", "credentials", "infra", "task0: GPUs"]
    assert findings["endpoint"].says == "http://127.0.0.1:46580 answers: SkyPilot 0.14.1, API 62, as ann"


async def test_an_endpoint_that_does_not_answer_is_told_with_how_to_start_it(settings: Settings) -> None:
    findings = await found(settings, Patient(unwell=errors.EndpointUnreachable("no answer")))
    assert "make local-up" in findings["endpoint"].cure
    assert "credentials" not in findings
    away = await found(replace(settings, endpoint="https://sky.example.org"), Patient(unwell=errors.EndpointUnreachable("no answer")))
    assert "VPN" in away["endpoint"].cure


async def test_versions_that_do_not_fit_are_told(settings: Settings) -> None:
    findings = await found(settings, Patient(unwell=errors.EndpointIncompatible("too old")))
    assert not findings["versions"].ok


@pytest.mark.parametrize("at", ["unwell", "refuses"])
async def test_refused_credentials_are_told_with_the_variable_to_set(settings: Settings, at: str) -> None:
    findings = await found(settings, replace(Patient(), **{at: errors.EndpointRefused("401")}))
    assert "SKYPILOT_SERVICE_ACCOUNT_TOKEN" in findings["credentials"].cure


@pytest.mark.parametrize(
    ("wanted", "enabled", "ok"),
    [
        ("slurm", ["slurm/local"], True),
        ("slurm/local", ["slurm/local"], True),
        ("slurm/other", ["slurm/local"], False),
        ("aws", ["slurm/local"], False),
        ("aws/us-east-1", ["aws"], True),
        ("AWS", ["aws"], True),
        ("k8s", ["kubernetes/kind"], True),
        ("k8s/kind", ["kubernetes/kind"], True),
        ("k8s/other", ["kubernetes/kind"], False),
        ("*", ["aws"], True),
        ("aws", [], False),
    ],
)
async def test_the_infra_asked_for_must_be_enabled(settings: Settings, wanted: str, enabled: list[str], ok: bool) -> None:
    findings = await found(replace(settings, infra=wanted), Patient(infra=enabled), "{cpus: 2}")
    assert findings["infra"].ok is ok
    if not ok:
        assert "sky check" in findings["infra"].cure


async def test_no_infra_at_all_is_told(settings: Settings) -> None:
    finding = (await found(settings, Patient(infra=[])))["infra"]
    assert (finding.ok, finding.says) == (False, "any infra: not enabled on the server; enabled: none")


@pytest.mark.parametrize(
    ("accelerators", "ok"),
    [
        ("H100:4", True),
        ("h100", True),
        ("{H100: 2}", True),
        ("[A100:8, H100:1]", True),
        ("'{A100:8, H100:1}'", True),
        ("H100:8", False),
        ("A100", False),
    ],
)
async def test_the_gpus_asked_for_must_be_there(settings: Settings, accelerators: str, ok: bool) -> None:
    findings = await found(settings, Patient(), f"{{infra: slurm, accelerators: {accelerators}}}")
    assert findings["task0: GPUs"].ok is ok
    if not ok:
        assert "H100:4" in findings["task0: GPUs"].cure


async def test_one_alternative_that_is_there_will_do(settings: Settings) -> None:
    resources = "{any_of: [{infra: aws, accelerators: A100:1}, {infra: slurm, accelerators: H100:1}]}"
    findings = await found(settings, Patient(), resources)
    assert findings["task0: GPUs"].ok
    assert findings["infra"].ok


async def test_gpus_that_cannot_be_listed_are_no_verdict(settings: Settings) -> None:
    patient = Patient(gpus={"slurm/local": errors.LaunchError("catalog offline")})
    findings = await found(settings, patient, "{infra: slurm/local, accelerators: H100:1}")
    assert "cannot tell" in findings["task0: GPUs"].says


async def test_a_task_file_that_is_wrong_is_told_with_its_cure(settings: Settings) -> None:
    findings = await found(settings, Patient(), "{accelerator: H100:1}", "{cpus: 2}")
    assert "did you mean `accelerators`" in findings["task0.yaml"].cure
    assert "tasks" not in findings


async def test_what_each_run_gives_is_not_missing(settings: Settings) -> None:
    findings = await found(settings, Patient(), "{cpus: 2}\nenvs: {RATE: , DATA_BUCKET_URL: }\nsecrets: {TOKEN: , KEY: }")
    assert findings["tasks"].ok


async def test_the_bucket_is_there_or_the_line_to_set_is_told(settings: Settings) -> None:
    missing = (await found(replace(settings, bucket=""), Patient()))["bucket"]
    assert (missing.ok, "DATA_BUCKET_URL" in missing.cure) == (False, True)
    assert (await found(replace(settings, bucket="", local=True), Patient()))["bucket"].ok
