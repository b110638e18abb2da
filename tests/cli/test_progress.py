"""Progress in each of its forms."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pattern_stream.cli.progress import JsonLines, PlainLines, chosen_mode, progress_line, showing_progress
from pattern_stream.cli.session import ProgressMode, Session
from pattern_stream.items import Progress
from tests.cli.conftest import Cli
from tests.cli.terminal import on_terminal

Clock = list[float]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time that progress sees, as a list of one number."""
    now = [1000.0]
    monkeypatch.setattr("pattern_stream.cli.progress.time.monotonic", lambda: now[0])
    return now


def test_a_short_run_has_no_lines(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """Plain progress says nothing in the first 5 seconds, whatever is done in them, the end of a stage included."""
    show = PlainLines()
    for done in (0, 5, 50, 100):
        show(Progress("export", done, 100, "rows"))
        show(Progress("write", done, 100, "bytes"))
        clock[0] += 1.2

    assert "" == capsys.readouterr().err


def test_a_line_per_30_seconds(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """The first line after 5 seconds, then one every 30, over all stages together."""
    show = PlainLines()
    for second in range(70):
        show(Progress("read", second * 1_000_000, None, "bytes"))
        show(Progress("export", second, 100, "rows"))
        clock[0] += 1

    assert ["read: 5.0 MB, 1.0 MB/s", "read: 35.0 MB, 1.0 MB/s", "read: 65.0 MB, 1.0 MB/s"] == (
        capsys.readouterr().err.splitlines()
    )


def test_json_lines(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """An object a line: the first, at most ten a second, and the last."""
    show = JsonLines()
    for done in range(101):
        show(Progress("export", done, 100, "rows"))
        clock[0] += 0.01
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]

    assert {"stage": "export", "done": 0, "total": 100, "unit": "rows", "seconds": 0.0} == lines[0]
    assert 100 == lines[-1]["done"]
    assert 12 >= len(lines)


@pytest.mark.parametrize(
    ("progress", "seconds", "expected"),
    [
        (Progress("export", 120_000, 200_000, "rows"), 2.0, "export: 120,000 of 200,000 rows (60 %), 60,000 rows/s"),
        (Progress("export", 120_000, 200_000, "rows"), 0.0, "export: 120,000 of 200,000 rows (60 %)"),
        (Progress("read", 1_500_000, None, "bytes"), 1.0, "read: 1.5 MB, 1.5 MB/s"),
        (Progress("fold", 7, None, "documents"), 0.0, "fold: 7 documents"),
        (Progress("write", 0, 0, "bytes"), 0.0, "write: 0 bytes"),
    ],
)
def test_progress_line(progress: Progress, seconds: float, expected: str) -> None:
    """Done, total, share and rate, as far as they are known."""
    assert expected == progress_line(progress, seconds)


@pytest.mark.parametrize(
    ("asked", "quiet", "terminal", "term", "expected"),
    [
        ("auto", False, True, "xterm", "bar"),
        ("auto", False, True, "dumb", "plain"),
        ("auto", False, False, "xterm", "plain"),
        ("json", False, True, "xterm", "json"),
        ("plain", False, True, "xterm", "plain"),
        ("bar", True, True, "xterm", "none"),
        ("none", False, True, "xterm", "none"),
    ],
)
def test_chosen_mode(
    monkeypatch: pytest.MonkeyPatch, asked: ProgressMode, quiet: bool, terminal: bool, term: str, expected: str
) -> None:
    """auto is a bar on a terminal that can redraw, else lines; -q is none, whatever was asked."""
    monkeypatch.setenv("TERM", term)
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal)

    assert expected == chosen_mode(Session(quiet=quiet, progress=asked))


def test_none_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """`--progress none` is a callback too."""
    with showing_progress(Session(progress="none")) as show:
        show(Progress("export", 1, 1, "rows"))

    assert ("", "") == capsys.readouterr()


def test_the_bar_is_drawn_and_goes_away(home: Path, small: Path, tmp_path: Path) -> None:
    """On a terminal there is a bar, and when the work is done no trace of it but the summary."""
    arguments: list[str | Path] = ["export", "--db", small, "-o", tmp_path / "o.car"]
    outcome, shown = on_terminal(home, arguments, ["stderr"])
    _, colourless = on_terminal(home, [*arguments, "--force"], ["stderr"], NO_COLOR="1")
    _, dumb = on_terminal(home, [*arguments, "--force"], ["stderr"], TERM="dumb")

    assert 0 == outcome.code
    assert "━" in shown
    assert "\x1b[2K" in shown
    assert "\x1b[3" not in colourless
    assert "\x1b" not in dumb
    assert "━" not in dumb


def test_json_progress_of_a_real_run(cli: Cli, small: Path, tmp_path: Path) -> None:
    """`--progress json`: every line of stderr is an object; the last one of a stage with a total is complete."""
    outcome = cli("export", "--db", small, "-o", tmp_path / "o.car", "--progress", "json")
    lines = [json.loads(line) for line in outcome.err.splitlines()]
    steps = [line for line in lines if "stage" in line]
    last = {line["stage"]: line for line in steps}

    assert {"stage", "done", "total", "unit", "seconds"} == set(steps[0])
    assert {"level", "message"} == {key for line in lines if "stage" not in line for key in line} & {"level", "message"}
    assert last["write"]["done"] == last["write"]["total"]


def test_errors_among_json_progress(cli: Cli, tmp_path: Path) -> None:
    """With `--progress json` an error is an object too, in the options as well as in the work."""
    for arguments, code in (
        (("list", "--db", tmp_path / "none.db"), "database-not-found"),
        (("list", "--foo"), "usage-error"),
    ):
        outcome = cli(*arguments, "--progress", "json")
        *_, last = [json.loads(line) for line in outcome.err.splitlines()]

        assert ("error", code) == (last["level"], last["error"]["code"])
