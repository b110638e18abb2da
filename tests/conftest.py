"""Fixtures for every room."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("suite", deadline=None)  # no test is a matter of time: machines are busy
settings.load_profile("suite")

SHARED = Path(os.environ.get("PATTERN_STREAM_SHARED", Path(__file__).resolve().parents[1] / "../shared")).resolve()


def pytest_configure() -> None:
    """What a shell or nohup ignores for what runs in the background is inherited; here Ctrl-C and hang-ups work."""
    for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, usual)


@pytest.fixture
def anyio_backend() -> str:
    """asyncio only: aiosqlite decides the loop."""
    return "asyncio"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of public vectors and of databases made by the real program, which lies beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED} is not there: databases of the real program and public vectors are not on this machine")
    return SHARED
