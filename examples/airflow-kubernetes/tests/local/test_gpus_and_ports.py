"""Which GPUs the node offers and which ports are taken."""

from __future__ import annotations

import socket

import pytest

from local import gpus, ports
from local.place import LocalError, Place


@pytest.mark.parametrize(
    ("task", "asked"),
    [
        ("resources:\n  accelerators: H100:1\n", [("H100", 1)]),
        ("resources: \n  accelerators: 'A100-80GB:8'  # eight\n", [("A100-80GB", 8)]),
        ("resources:\n  accelerators: {L4: 1, a10g: 2}\n", [("L4", 1), ("A10G", 2)]),
        ("resources:\n  accelerators: [L4:1, T4]\n", [("L4", 1), ("T4", 1)]),
        ("resources:\n  accelerators:\n    H200: 8\n    B200: 4\n  cpus: 4\n", [("H200", 8), ("B200", 4)]),
        ("resources:\n  accelerators:\n  - H200:8\n  - B200:4\n  cpus: 4\n", [("H200", 8), ("B200", 4)]),
        ("resources:\n  any_of:\n    - accelerators: V100:0.5\n    - accelerators: none\n", [("V100", 1)]),
        ('resources: {infra: slurm, accelerators: "A100:2", cpus: 4}\n', [("A100", 2)]),
        ("resources: {accelerators: {L4: 1}, cpus: 4}\n", [("L4", 1)]),
        ("resources: {accelerators: T4:2, cpus: 4}\n", [("T4", 2)]),
        ("resources:\n  cpus: 2+\n  # accelerators: H100:1\n", []),
    ],
)
def test_reads_the_accelerators_of_a_task_file(task: str, asked: list[tuple[str, int]]) -> None:
    assert gpus.asked_for(task) == asked


def test_has_four_h100_and_at_least_four_of_whatever_the_tasks_ask_for(here: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    (here.folder.parent / "tasks" / "train.yaml").write_text("resources:\n  accelerators: A100:8\n")
    (here.folder.parent / "tasks" / "eval.yaml").write_text("resources:\n  accelerators: L4:1\n")
    monkeypatch.setenv("SKY_LOCAL_GPUS", "T4:2, H100:16")
    assert gpus.wanted(here.folder.parent) == {"H100": 16, "A100": 8, "L4": 4, "T4": 2}


def test_names_the_variable_that_lists_gpus_wrongly(here: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKY_LOCAL_GPUS", "A100=8")
    with pytest.raises(LocalError, match="SKY_LOCAL_GPUS is 'A100=8', and would be right as NAME:COUNT"):
        gpus.wanted(here.folder.parent)


def test_a_taken_port_moves_on_to_the_next_free_one() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert not ports.free(port)
        assert port < ports.choose(["api"], {"api": port})["api"] < port + 50


def test_no_port_is_chosen_twice() -> None:
    chosen = ports.choose(["slurmd-A", "slurmd-B", "slurmd-C"], {})
    assert len({*chosen.values()}) == 3
    assert not {*chosen.values()} & {*ports.choose(["slurmd-D"], {}).values()}
    assert ports.choose([*chosen], chosen) == chosen


def test_a_variable_sets_the_preferred_port_and_a_wrong_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKY_LOCAL_API_PORT", "23456")
    assert ports.preferred("api") == 23456
    monkeypatch.setenv("SKY_LOCAL_SLURMD_PORT", "80")
    with pytest.raises(LocalError, match="SKY_LOCAL_SLURMD_PORT is '80'"):
        ports.preferred("slurmd-H100")
