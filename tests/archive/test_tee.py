"""What was kept on the way is the same again, from memory and from disk."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import IO

import pytest

from pattern_stream.archive.spool import Area
from pattern_stream.archive.tee import Replay
from pattern_stream.errors import TransportError
from tests.drive import collect, dribble

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("size", [0, 1, 3_000_000, 20_000_000])
async def test_again(tmp_path: Path, size: int) -> None:
    """Twice the same bytes, whatever their number; nothing is left in the folder."""
    data = bytes(range(251)) * (size // 251 + 1)
    data = data[:size]
    with Replay([tmp_path]) as replay:
        first = b"".join(await collect(replay.first(dribble(data, 1_000_003))))
        again = b"".join(await collect(replay.again()))
        third = b"".join(await collect(replay.again()))

    assert data == first
    assert data == again
    assert data == third
    assert [] == list(tmp_path.iterdir())


async def test_a_disk_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the disk says while the bytes are read again comes as an error of ours that says what was done."""

    def load(area: Area, file: IO[bytes], offset: int, count: int) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with Replay([tmp_path]) as replay:
        await collect(replay.first(dribble(bytes(20_000_000), 1_000_003)))
        monkeypatch.setattr(Area, "load", load)

        with pytest.raises(TransportError, match="reading again what was put aside: Input/output error"):
            await collect(replay.again())
