"""What a job hands back in its log."""

from __future__ import annotations

import pytest

from sky_orchestrate.outputs import figure, parse_output, strip_terminal


@pytest.mark.parametrize(
    "line",
    [
        '::sky-output::{"accuracy": 0.97}',
        '::sky-output:: {"accuracy": 0.97}  ',
        '(train, pid=4711) ::sky-output::{"accuracy": 0.97}',
        '(worker1, pid=4711, ip=10.0.0.1) ::sky-output::{"accuracy": 0.97}',
        '\x1b[36m(train, pid=4711)\x1b[0m ::sky-output::{"accuracy": 0.97}\r',
    ],
)
def test_an_output_is_found_behind_skypilots_prefix_and_colours(line: str) -> None:
    assert parse_output(line) == {"accuracy": 0.97}


@pytest.mark.parametrize("line", ["", "accuracy 0.97", 'echo "::sky-output::{}"', "::sky-output:{}", "set -x; ::sky-output::{}"])
def test_any_other_line_is_no_output(line: str) -> None:
    assert parse_output(line) is None


@pytest.mark.parametrize(
    "said", ["", "{", "[1]", "null", '"text"', "{'a': 1}", '{"a": NaN}', '{"a": Infinity}', '{"a": 1e999}', "[" * 100_000]
)
def test_what_is_no_json_object_is_warned_of_and_no_output(said: str, caplog: pytest.LogCaptureFixture) -> None:
    assert parse_output(f"::sky-output::{said}") is None
    assert "no JSON object" in caplog.text
    assert len(caplog.text) < 1000


def test_outputs_may_hold_any_text() -> None:
    assert parse_output('::sky-output::{"name": "模型 \\"é\\"", "none": null}') == {"name": '模型 "é"', "none": None}


@pytest.mark.parametrize(
    ("line", "plain"),
    [
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b[2K\x1b[1Gprogress", "progress"),
        ("\x1b]0;a title\x07text", "text"),
        ("\x1b]8;;https://example.org\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b[38;5;208mâ\x1b[m", "â"),
        ("plain [1;31m", "plain [1;31m"),
    ],
)
def test_terminal_codes_are_taken_out(line: str, plain: str) -> None:
    assert strip_terminal(line) == plain


@pytest.mark.parametrize(
    ("value", "found"),
    [
        pytest.param(0.97, 0.97, id="a fraction"),
        pytest.param(3, 3.0, id="a whole number"),
        pytest.param("0.97", None, id="text"),
        pytest.param(True, None, id="true"),
        pytest.param(None, None, id="none"),
        pytest.param(float("inf"), None, id="endless"),
        pytest.param(float("nan"), None, id="not a number"),
        pytest.param(10**400, None, id="past what a float holds"),
    ],
)
def test_only_a_finite_number_is_a_figure(value: object, found: float | None) -> None:
    assert figure(value) == found
