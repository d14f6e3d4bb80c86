"""Where the local SkyPilot lies, what it remembers, and what it takes away."""

from __future__ import annotations

import subprocess
import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from local import lifecycle, place, processes
from local.place import LocalError, Memory, Place
from tests.local.conftest import PORTS


@pytest.mark.parametrize("name", ["a project with spaces", "p" * 120, "projekt-ä"])
def test_a_deep_or_odd_folder_goes_by_a_short_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    found = place.find_place(tmp_path / name)
    found.make_folders()
    assert found.alias is not None
    try:
        assert len(str(found.base)) <= 44
        assert " " not in str(found.base)
        assert found.alias.resolve() == found.folder
        assert place.find_place(tmp_path / name) == found
    finally:
        found.alias.unlink()


def test_a_short_name_that_is_somebody_elses_is_refused(tmp_path: Path) -> None:
    stranger = tmp_path / "alias"
    stranger.symlink_to("/elsewhere")
    with pytest.raises(LocalError, match="is not ours"):
        Place(tmp_path / ".local", stranger).make_folders()


def test_remembers_what_it_chose(here: Place) -> None:
    kept = Memory(str(here.folder), place.boot_id(), PORTS, {"H100": 4})
    kept.keep(here)
    assert place.remember(here) == kept


@pytest.mark.parametrize("text", ["", "{", "[]", '{"folder": "x"}'])
def test_a_damaged_memory_is_none(here: Place, text: str) -> None:
    (here.folder / "state.json").write_text(text)
    assert place.remember(here) is None


@pytest.mark.parametrize("other", [{"folder": "/where/it/was/copied/from"}, {"boot": "before the reboot"}])
def test_nothing_is_kept_of_a_copied_folder_or_from_before_a_reboot(here: Place, other: dict[str, str]) -> None:
    (here.home / "old").touch()
    memory = replace(Memory(str(here.folder), place.boot_id(), PORTS), **other)
    assert lifecycle._usable(here, memory) is None
    assert not here.home.exists()


def test_a_project_that_was_moved_while_it_was_up_ends_what_it_left(here: Place, tmp_path: Path) -> None:
    before = tmp_path / "where it was" / ".local"
    left = subprocess.Popen(["sleep", "60"], env={processes.MARK: str(before)})
    Memory(str(before), place.boot_id()).keep(here)
    lifecycle._stop(here)
    assert processes._identity(left.pid) is None


def test_down_where_nothing_is_up_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    lifecycle.down(tmp_path)
    assert not [*tmp_path.iterdir()]


def test_down_takes_the_setup_scripts_that_launches_left_and_no_others(here: Place) -> None:
    ours, other = (f"sky-2026-01-01-00-00-00-{uuid.uuid4().hex}" for _ in range(2))
    (here.home / "sky_logs" / ours).mkdir(parents=True)
    scripts = [Path("/tmp") / f"sky_setup_{launch}" for launch in (ours, other)]
    for script in scripts:
        script.touch()
    lifecycle._stop(here)
    assert [script.exists() for script in scripts] == [False, True]
    scripts[1].unlink()
