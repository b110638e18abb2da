"""Files, pipes, devices and the standard streams as ends of a line: `open_output` and `open_input`."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final, Self

from anyio import to_thread

from pattern_stream.errors import (
    FileMissing,
    FileTaken,
    StorageFull,
    TransportError,
    UsageError,
    making_folder,
    storage_errors,
)
from pattern_stream.files.partial import partial_of, reserved, take_name
from pattern_stream.items import AsyncWriter, Placement
from pattern_stream.transport.blocking import PatientThread
from pattern_stream.transport.descriptors import (
    copy_range,
    free_bytes,
    place_pieces,
    read_some,
    widen_pipe,
    write_all,
)

_STDIN: Final = 0
_STDOUT: Final = 1
_RANGE_STEP: Final = 8 * 1024 * 1024
"""Bytes copied between two looks at whether the line was cancelled."""


BlockingCall = Callable[[Callable[[], None]], Awaitable[None]]
"""Makes a blocking call: in a thread that is waited for, or in one that can be left."""


class FileOutput:
    """An output: bytes by `write`, ranges of files by `copy_range`, pieces of files in any order by `place`.

    `folder`: where a spool best lies, None where the output has no place of its own (a pipe, a device).
    `partial`: the file that holds the bytes until they get their name, None where they are written at once.
    `device`: the file system of that file. Only such a file may be filled in any order: others are read meanwhile.
    """

    def __init__(self, descriptor: int, name: str, run: BlockingCall, partial_path: Path | None = None) -> None:
        self.name = name
        self.partial = partial_path
        self.folder = partial_path.parent if partial_path is not None else None
        self.device = os.fstat(descriptor).st_dev if partial_path is not None else None
        self.bytes_written = 0
        self._descriptor = descriptor
        self._run = run

    async def write(self, data: bytes, /) -> None:
        """Write all of it. Raises StorageFull, TransportError; a closed pipe raises BrokenPipeError."""
        with storage_errors(f"writing {self.name}"):
            await self._run(partial(write_all, self._descriptor, data))
        self.bytes_written += len(data)

    async def copy_range(self, source_fd: int, offset: int, count: int, /) -> None:
        """Write `count` bytes from `offset` of an open file. Raises as `write` does."""
        for at in range(offset, offset + count, _RANGE_STEP):
            step = min(_RANGE_STEP, offset + count - at)
            with storage_errors(f"writing {self.name}"):
                await self._run(self._copying(source_fd, at, step))
            self.bytes_written += step

    async def place(self, source_fd: int, pieces: Sequence[Placement], /) -> None:
        """Write pieces of an open file, which follow each other there, the last first. Raises as `write` does.

        What is written by `write` comes to the beginning of the file.
        """
        with storage_errors(f"writing {self.name}"):
            await self._run(partial(_place_and_return, source_fd, self._descriptor, pieces))
        self.bytes_written += sum(piece.size for piece in pieces)

    async def require_room(self, count: int, /) -> None:
        """Look whether so many bytes more may be written. Raises StorageFull."""
        with storage_errors(f"writing {self.name}"):
            free = free_bytes(self._descriptor)
        if free is not None and free < count:
            hint = "free some space, or name another place for the archive"
            raise StorageFull(f"the archive is {count} bytes, {free} are free for {self.name}", hint=hint)

    def _copying(self, source_fd: int, offset: int, count: int) -> Callable[[], None]:
        """The call that copies. One that may be left behind gets a descriptor of its own, and closes it: the caller
        closes his, and the number would be given to another file.
        """
        if self.partial is not None:
            return partial(copy_range, source_fd, self._descriptor, offset, count)
        return partial(_copy_and_close, os.dup(source_fd), self._descriptor, offset, count)


class ByteSource:
    """Bytes of an input in pieces of at most 1 MiB, once.

    `total_bytes`: the length, where it is a plain file. `path`: that file.
    """

    def __init__(self, descriptor: int, name: str, thread: PatientThread, path: Path | None = None) -> None:
        self.name = name
        self.path = path
        self.total_bytes = os.fstat(descriptor).st_size if path is not None else None
        self.bytes_read = 0
        self._descriptor: int | None = descriptor
        self._thread = thread

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._descriptor is None:
            raise StopAsyncIteration
        with storage_errors(f"reading {self.name}"):
            data = await self._thread.run(read_some, self._descriptor)
        if not data:
            raise StopAsyncIteration
        self.bytes_read += len(data)
        return data

    async def aclose(self) -> None:
        """Give no more bytes. The file is closed by who opened it."""
        self._descriptor = None


@asynccontextmanager
async def open_output(target: Path | None = None, *, force: bool = False) -> AsyncGenerator[FileOutput]:
    """Open an output: a file, a device or FIFO, or standard output for None and "-".

    A file, mode 0600, is written as .NAME.pattern-stream-partial and gets its name at the end; leaving by an error
    leaves nothing. An existing one needs `force`. A device or FIFO is written as it is and needs none.

    Raises:  FileTaken, FileMissing, UsageError (a folder, a terminal), TransportError: before any work;
             FileTaken, StorageFull, TransportError at the end.
    """
    target = _named(target)
    if target is not None and _is_plain(target):
        async with _file_output(target, force) as output:
            yield output
        return
    async with _opened(target, os.O_WRONLY) as (descriptor, name, thread):
        _refuse_terminal(descriptor, name)
        yield FileOutput(descriptor, name, thread.run)
        if stat.S_ISBLK(os.fstat(descriptor).st_mode):
            with storage_errors(f"writing {name}"):
                await thread.run(os.fsync, descriptor)


@asynccontextmanager
async def open_target(out: Path | AsyncWriter | None, *, force: bool = False) -> AsyncGenerator[AsyncWriter]:
    """The same for a pipeline's output, which may also be an object of the caller's. Raises as `open_output` does."""
    if out is not None and not isinstance(out, Path):
        yield out
        return
    async with open_output(out, force=force) as output:
        yield output


async def check_output(target: Path | None, *, force: bool = False) -> Path | None:
    """Find out whether `open_output` would open this output; nothing of it stays. Raises as `open_output` does.

    Out:     the folder of a file, None for an output that has no place of its own.
    """
    target = _named(target)
    if target is None:
        _standard(_STDOUT)
    elif _is_plain(target):
        place = Path(os.path.realpath(target))
        with _partial_file(place, force):
            return place.parent
    elif target.is_fifo():  # which is not opened: that would wait for its reader
        if not os.access(target, os.W_OK):
            raise TransportError(f"opening {target}: {os.strerror(errno.EACCES)}")
    else:
        async with _opened(target, os.O_WRONLY | os.O_NOCTTY) as (descriptor, name, thread):
            _refuse_terminal(descriptor, name)
            with storage_errors(f"writing {name}"):
                await thread.run(os.write, descriptor, b"")  # a full device refuses even nothing
    return None


@asynccontextmanager
async def open_input(source: Path | None = None) -> AsyncGenerator[ByteSource]:
    """Open an input: a file, a device or FIFO, or standard input for None and "-".

    Raises:  FileMissing, UsageError (a folder, a terminal), TransportError.
    """
    source = _named(source)
    async with _opened(source, os.O_RDONLY) as (descriptor, name, thread):
        is_plain = source is not None and stat.S_ISREG(os.fstat(descriptor).st_mode)
        yield ByteSource(descriptor, name, thread, source if is_plain else None)


@asynccontextmanager
async def _file_output(target: Path, force: bool) -> AsyncGenerator[FileOutput]:
    place = Path(os.path.realpath(target))
    with _partial_file(place, force) as descriptor:
        yield FileOutput(descriptor, str(target), to_thread.run_sync, partial_of(place))
        with storage_errors(f"writing {place}"):
            try:
                # All to the disk, then the name, then the folder: after a crash the file is old, or new and whole.
                await to_thread.run_sync(os.fsync, descriptor)
                await to_thread.run_sync(partial(take_name, partial_of(place), place, replace=force))
            except FileExistsError as error:
                raise FileTaken(f"{place} exists, it was made while this was written") from error


@contextmanager
def _partial_file(place: Path, force: bool) -> Iterator[int]:
    path = partial_of(place)
    with ExitStack() as resources:
        with storage_errors(f"making {path}"):
            if place.is_dir():
                raise UsageError(f"{place} is a folder, expected the name of a file")
            if not force and os.path.lexists(place):
                with suppress(OSError):  # an export that was killed when it had just taken the name left the other one
                    if os.path.samefile(path, place):
                        os.unlink(path)
                raise FileTaken(f"{place} exists")
            if force and os.path.lexists(place) and not _may_replace(place):
                found = "belongs to another user, and its folder (sticky) lets nobody else replace it"
                raise TransportError(f"{place} {found}", hint="choose another name")
            try:
                descriptor = resources.enter_context(reserved(path))
            except FileExistsError as error:
                raise FileTaken(
                    f"{path} exists: another export writes it, or it is no file of this program",
                    hint="wait for the other export, or remove that file if there is none",
                ) from error
            except FileNotFoundError as error:
                hint = making_folder(place.parent)
                raise FileMissing(f"folder {place.parent} is not there", hint=hint) from error
        yield descriptor


def _may_replace(place: Path) -> bool:
    """Whether its folder allows that, which else only shows when all is written."""
    folder = place.parent.stat()
    return not folder.st_mode & stat.S_ISVTX or os.geteuid() in (0, folder.st_uid, place.lstat().st_uid)


@asynccontextmanager
async def _opened(path: Path | None, flags: int) -> AsyncGenerator[tuple[int, str, PatientThread]]:
    """Descriptor, name and thread of a file, device or FIFO (it waits for its other end), or of a standard stream."""
    thread, opened = PatientThread(), list[int]()

    def open_path(path: Path) -> int:
        opened.append(os.open(path, flags | os.O_CLOEXEC))
        widen_pipe(opened[0])
        return opened[0]

    def close() -> None:
        for descriptor in opened:
            os.close(descriptor)

    try:
        if path is None:
            descriptor = _STDIN if flags == os.O_RDONLY else _STDOUT
            yield descriptor, _standard(descriptor), thread
            return
        with storage_errors(f"opening {path}"):
            if path.is_dir():
                raise UsageError(f"{path} is a folder, expected a file")
            if path.is_socket():
                raise UsageError(f"{path} is a socket, expected a file, device or FIFO")
            try:
                descriptor = await thread.run(open_path, path)
            except FileNotFoundError as error:
                raise FileMissing(f"{path} is not there") from error
        yield descriptor, str(path), thread
    finally:
        # In the thread: a call that was left there may still use the descriptor, or only now get it.
        thread.end(close)


def _named(path: Path | None) -> Path | None:
    return None if path is None or str(path) == "-" else path


def _standard(descriptor: int) -> str:
    """Makes a standard stream ready for bytes; gives its name."""
    # Trap: where it was closed, its number may belong to any file of ours.
    name = "standard input" if descriptor == _STDIN else "standard output"
    if (sys.__stdin__ if descriptor == _STDIN else sys.__stdout__) is None:
        raise TransportError(f"{name} is closed")
    _refuse_terminal(descriptor, name)
    widen_pipe(descriptor)
    return name


def _refuse_terminal(descriptor: int, name: str) -> None:
    if os.isatty(descriptor):
        hint = "name a file, or pipe an archive into it" if descriptor == _STDIN else "name a file with -o, or pipe it"
        raise UsageError(f"{name} is a terminal, and an archive is binary", hint=hint)


def _is_plain(path: Path) -> bool:
    """Whether it is a file like any other, or nothing yet; through links. Folders are refused by who opens."""
    with storage_errors(f"opening {path}"):
        try:
            mode = path.stat().st_mode
        except FileNotFoundError:
            return True
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)


def _place_and_return(source: int, target: int, pieces: Sequence[Placement]) -> None:
    place_pieces(source, target, pieces)
    os.lseek(target, 0, os.SEEK_SET)


def _copy_and_close(source: int, target: int, offset: int, count: int) -> None:
    try:
        copy_range(source, target, offset, count)
    finally:
        os.close(source)
