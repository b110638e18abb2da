"""How long a thread waits for the lock while rows go in."""

from __future__ import annotations

import sys

import pytest

from pattern_stream.db.write.switch_interval import short_turns


def test_turns_are_short_and_then_as_before() -> None:
    """Also when what they were short for fails."""
    before, within = sys.getswitchinterval(), []

    def work() -> None:
        with short_turns():
            within.append(sys.getswitchinterval())
            raise KeyError

    with pytest.raises(KeyError):
        work()

    assert [True] == [interval < before for interval in within]
    assert before == sys.getswitchinterval()
