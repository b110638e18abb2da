"""What the storage says becomes one of our errors."""

from __future__ import annotations

import errno
import os

import pytest

from pattern_stream.errors import StorageFull, TransportError, storage_errors


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, StorageFull),
        (errno.EFBIG, StorageFull),
        (errno.EDQUOT, StorageFull),
        (errno.EIO, TransportError),
        (errno.EACCES, TransportError),
    ],
)
def test_translation(number: int, kind: type[TransportError]) -> None:
    """What the storage says becomes one of our errors, exit 9; the original is its cause."""
    with pytest.raises(TransportError, match="writing x: ") as caught, storage_errors("writing x"):
        raise OSError(number, os.strerror(number))

    assert kind is type(caught.value)
    assert 9 == caught.value.exit_code
    assert isinstance(caught.value.__cause__, OSError)


def test_closed_pipe_is_not_storage_errors() -> None:
    """A reader that is gone is no fault of the storage."""
    with pytest.raises(BrokenPipeError), storage_errors("writing x"):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")
