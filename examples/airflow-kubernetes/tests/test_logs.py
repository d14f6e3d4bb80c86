"""What an engineer sees of a job's log, and what is taken from it."""

from __future__ import annotations

import asyncio
import threading
from contextvars import ContextVar

import pytest

from sky_orchestrate.log_stream import LineWriter, follow
from sky_orchestrate.logs import TAIL_LINES, JobLog

PREFIX = "\x1b[36m(train, pid=42)\x1b[0m "


def job_log(*raw: str, secrets: tuple[str, ...] = ()) -> tuple[JobLog, list[str]]:
    shown: list[str] = []
    log = JobLog("train", shown.append, secrets=secrets, clock=lambda: 0.0)
    for line in raw:
        log.feed(line)
    return log, shown


def test_colours_and_the_runtimes_prefix_are_taken_off() -> None:
    _, shown = job_log(f"{PREFIX}\x1b[31mred\x1b[0m alert", "(someone-else, pid=7) stays")
    assert shown == ["red alert", "(someone-else, pid=7) stays"]


def test_a_replayed_log_is_shown_once() -> None:
    log, shown = job_log("one", "two")
    log.restart()
    for line in ("one", "two", "three"):
        log.feed(line)
    assert shown == ["one", "two", "three"]


def test_another_jobs_log_is_shown_from_its_first_line() -> None:
    log, shown = job_log("ours", 'x ::sky-output::{"a": 1}')
    log.begin_anew()
    log.feed("theirs")
    assert shown[-1] == "theirs"
    assert log.outputs == {}


def test_of_a_progress_bar_the_last_state_is_shown_at_most_once_a_second() -> None:
    now = [0.0]
    shown: list[str] = []
    log = JobLog("train", shown.append, clock=lambda: now[0])
    for percent in range(0, 100, 10):
        log.feed(f"{PREFIX}{percent}%|{'█' * (percent // 10)}| {percent}/100")
        now[0] += 0.3
    log.feed(f"{PREFIX}done")
    assert 3 <= len(shown) <= 5
    assert shown[-2].startswith("90%")
    assert shown[-1] == "done"


def test_of_a_redrawn_line_the_last_state_counts() -> None:
    _, shown = job_log(f"{PREFIX}loading\rloaded\r")
    assert shown == ["loaded"]


def test_outputs_are_taken_from_the_log_and_later_ones_win() -> None:
    log, _ = job_log(f'{PREFIX}::sky-output::{{"loss": 2}}', f'{PREFIX}::sky-output::{{"loss": 1, "name": "Zoë"}}')
    assert log.outputs == {"loss": 1, "name": "Zoë"}


def test_a_broken_output_is_a_line_like_any_other() -> None:
    log, shown = job_log(f"{PREFIX}::sky-output::{{broken")
    assert log.outputs == {}
    assert len(shown) == 1


@pytest.mark.parametrize(
    ("told", "code"),
    [
        pytest.param("ERROR: \x1b[31mJob 1 failed with return code list:\x1b[0m [3] ", 3, id="one node"),
        pytest.param("ERROR: Job 2 failed with return code list: [0, 137]", 137, id="one of two nodes"),
        pytest.param("ERROR: Job 1's setup failed with return code 4 (pid=6934). See error logs above for more details.", 4, id="setup"),
        pytest.param("nothing of the kind", None, id="not told"),
    ],
)
def test_the_commands_own_exit_code_is_read(told: str, code: int | None) -> None:
    assert job_log(told)[0].exit_code == code


def test_the_tail_keeps_the_last_lines() -> None:
    log, _ = job_log(*(f"line {number}" for number in range(50)))
    assert list(log.tail) == [f"line {number}" for number in range(50 - TAIL_LINES, 50)]


def test_rule_10_a_secret_that_the_job_prints_is_blanked_out() -> None:
    log, shown = job_log(f"{PREFIX}token hunter2-and-more", secrets=("hunter2", "hunter2-and-more", "1"))
    assert shown == ["token ***"]
    assert "hunter2" not in "".join(log.tail)


def test_a_line_is_whole_however_it_is_written() -> None:
    loop = asyncio.new_event_loop()
    lines: list[str] = []
    writer = LineWriter(loop, lines.append)
    for piece in ("he", "llo\nwor", "ld", "\n", "", "rest"):
        writer.write(piece)
    writer.finish()
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
    assert lines == ["hello", "world", "rest"]


async def test_a_stream_that_nobody_follows_any_more_ends_its_thread() -> None:
    went_on = threading.Event()
    ended = threading.Event()

    def tail(out: LineWriter) -> int:
        try:
            went_on.wait(5)
            out.write("nobody reads this\n")
        finally:
            ended.set()
        return 0

    lines: list[str] = []
    following = asyncio.ensure_future(follow(tail, lines.append))
    await asyncio.sleep(0.01)
    following.cancel()
    await asyncio.wait([following])
    went_on.set()
    assert await asyncio.to_thread(ended.wait, 5)
    assert lines == []


async def test_a_streams_error_reaches_the_one_who_follows() -> None:
    def tail(out: LineWriter) -> int:
        raise ConnectionError("cut")

    with pytest.raises(ConnectionError, match="cut"):
        await follow(tail, lambda line: None)


def test_lines_that_an_earlier_attempt_has_shown_count_and_are_not_shown_again() -> None:
    shown: list[str] = []
    log = JobLog("train", shown.append, shown=2)
    for line in ("one", f'{PREFIX}::sky-output::{{"loss": 1}}', "three"):
        log.feed(line)
    assert shown == ["three"]
    assert log.lines == 3
    assert log.outputs == {"loss": 1}
    assert log.tail[0] == "one"


def test_lines_shown_of_one_job_hide_none_of_another() -> None:
    shown: list[str] = []
    log = JobLog("train", shown.append, shown=2)
    log.begin_anew()
    log.feed("theirs")
    assert shown == ["theirs"]


async def test_rule_09_lines_arrive_in_the_context_of_whoever_follows() -> None:
    """An orchestrator may tell by it whose log a line belongs to."""
    follower, followers = ContextVar("follower", default="nobody"), []
    follower.set("the trigger")

    def tail(writer: LineWriter) -> int:
        writer.write("whole\nhalf")
        return 0

    await follow(tail, lambda line: followers.append((line, follower.get())))
    assert followers == [("whole", "the trigger"), ("half", "the trigger")]
