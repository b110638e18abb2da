"""Part "days": what is new in an archive of the next day."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import days

MESSAGES = 3_000


def test_most_of_the_next_archive_was_in_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where 1 % is new, most blocks are not; archiving and deleting changes more of them, and no day changes nothing.

    Agents of so few messages have a chunk or two each, so the shares are larger than those of a large database.
    """
    monkeypatch.setenv("PATTERN_STREAM_BENCH", str(tmp_path))
    append, churn = days.measure(MESSAGES, 2)

    assert [*days.LINES] == [append.name, churn.name]
    assert (2, MESSAGES) == (append.runs, append.messages)
    assert 0 < append.counts["new"] < append.counts["bytes"]
    assert append.counts["new_percent"] == pytest.approx(100 * append.counts["new"] / append.counts["bytes"], rel=0.1)
    assert append.counts["new_percent"] < 60
    assert append.counts["new"] < churn.counts["new"]
