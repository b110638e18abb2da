"""What can go wrong: one tree, each error with a place, an exit code and a hint.

Families say whose fault it is (archive, database, limit, transport, usage); leaves are facts. Whoever raises fills in
what it knows of `Where`; each door on the way out adds the rest by `PatternStreamError.at`, filling blanks only.
"""

from __future__ import annotations

import errno
import re
import resource
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from enum import IntEnum
from typing import ClassVar, Final, Literal, Self

from pattern_stream.quick_dataclass import dataclass


class ExitCode(IntEnum):
    """Exit codes of the command line. A number is never reused. Source: the contract in README, "Exit codes"."""

    DONE = 0
    FAILURE = 1
    USAGE = 2
    LOSS = 3
    CORRUPT = 4
    UNSUPPORTED = 5
    NOT_FOUND = 6
    CONFLICT = 7
    KEY = 8
    STORAGE = 9
    DIFFERS = 10
    BUSY = 11
    INTERRUPTED = 130
    CLOSED_PIPE = 141
    TERMINATED = 143


@dataclass(frozen=True, slots=True)
class Where:
    """Where something was found. `offset` counts bytes from the start of the archive; `cid` is the text form."""

    stage: str | None = None
    offset: int | None = None
    cid: str | None = None
    table: str | None = None
    row_id: str | None = None
    field: str | None = None

    def filled(self, other: Where) -> Where:
        """This place with its blanks filled from `other`."""
        blanks = {f.name: getattr(other, f.name) for f in fields(self) if getattr(self, f.name) is None}
        return replace(self, **blanks)

    def as_dict(self) -> dict[str, str | int]:
        """The known parts only, in declaration order."""
        return {f.name: value for f in fields(self) if (value := getattr(self, f.name)) is not None}

    def __str__(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in self.as_dict().items())


class PatternStreamError(Exception):
    """The root of every error this package raises on purpose."""

    exit_code: ClassVar[ExitCode] = ExitCode.FAILURE
    default_hint: ClassVar[str | None] = None

    def __init__(self, message: str, *, where: Where | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.where = where or Where()
        self.hint = hint if hint is not None else self.default_hint

    @property
    def code(self) -> str:
        """The class name as a stable slug: `DigestMismatch` is `digest-mismatch`."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", type(self).__name__).lower()

    def at(self, where: Where | None = None, /, **known: object) -> Self:
        """Fill blanks of `where` with what a door on the way out knows; returns self for `raise ... from`."""
        self.where = self.where.filled(where or Where(**known))  # type: ignore[arg-type]
        return self

    def __str__(self) -> str:
        place = str(self.where)
        return f"{self.message} ({place})" if place else self.message


# --- the archive is at fault -------------------------------------------------------------------------------------


class ArchiveError(PatternStreamError):
    """The archive cannot be used as it is."""

    exit_code = ExitCode.CORRUPT


class MalformedHeader(ArchiveError):
    """The bytes do not start with a CAR v1 header."""


class MalformedSection(ArchiveError):
    """A section's framing is wrong: length, varint or CID."""


class TruncatedArchive(ArchiveError):
    """The bytes end inside a header or section, or before every link from the root was met."""


class TrailingBytes(ArchiveError):
    """Bytes follow where an archive must end."""


class CorruptStream(ArchiveError):
    """Compressed bytes do not unpack: a bad head, damaged data or a checksum that does not match."""


class DigestMismatch(ArchiveError):
    """A block's bytes do not hash to its CID."""


class MalformedBlock(ArchiveError):
    """A block's bytes are not strict DAG-CBOR."""


class MalformedNode(ArchiveError):
    """A decoded block does not have the declared shape of its type."""


class MissingBlock(ArchiveError):
    """A link leads to a block that is not in the archive."""


class StatsMismatch(ArchiveError):
    """The manifest's statistics do not agree with what the archive holds, in an archive whose writer counts exactly."""


class NotInArchive(ArchiveError):
    """No agent or group of that id or name in the archive."""

    exit_code = ExitCode.NOT_FOUND


class HostileShape(ArchiveError):
    """Depth, fan-out or count go beyond what any honest archive needs."""


class DamagedDocument(ArchiveError):
    """A memory document cannot be read."""


class UnsupportedArchive(ArchiveError):
    """A version, codec, hash or container that this program does not read."""

    exit_code = ExitCode.UNSUPPORTED


class UnsupportedVersion(UnsupportedArchive):
    """A manifest of another version of the format."""


class UnknownLink(UnsupportedArchive):
    """A key of a later version, under which there are further blocks: skipping it would lose them."""

    default_hint = "a newer release of pattern-stream may read it; --drop-unknown leaves it behind"


class UnsupportedCid(UnsupportedArchive):
    """A CID with another version, codec or hash than v1, dag-cbor, blake3-256."""


class UnsupportedContainer(UnsupportedArchive):
    """A file of another kind: CARv2, zstd, ..."""


# --- the database is at fault ------------------------------------------------------------------------------------


class DatabaseError(PatternStreamError):
    """The database cannot be used as it is."""

    exit_code = ExitCode.CORRUPT


class CorruptDatabase(DatabaseError):
    """SQLite reports damage, or the file is no SQLite database."""


class InvalidCell(DatabaseError):
    """A cell holds what its column cannot mean: a BLOB in a text column, text that is no UTF-8, an unknown spelling."""


class DamagedMemory(DatabaseError):
    """A memory block's snapshot or one of its updates cannot be read."""

    default_hint = "export --salvage writes such a block as far as it is good, and lists it"


class UnsupportedSchema(DatabaseError):
    """A database without the tables or columns that the operation needs."""

    exit_code = ExitCode.UNSUPPORTED


class UnknownContent(UnsupportedSchema):
    """An archive carries tables or columns that the database has no place for."""

    default_hint = "--drop-unknown leaves them out, and lists them"


class DatabaseNotFound(DatabaseError):
    """No database where one was expected."""

    exit_code = ExitCode.NOT_FOUND


class NotInDatabase(DatabaseError):
    """No agent or group of that id or name."""

    exit_code = ExitCode.NOT_FOUND


class NameConflict(DatabaseError):
    """A name or id is taken, or means two things."""

    exit_code = ExitCode.CONFLICT


class TargetExists(DatabaseError):
    """The file to be made is there already."""

    exit_code = ExitCode.CONFLICT


class DatabaseBusy(DatabaseError):
    """Another program holds a lock for longer than the busy timeout."""

    exit_code = ExitCode.BUSY
    default_hint = "try again when the program that holds the database is done"


class DatabaseStorage(DatabaseError):
    """The database cannot be read or written for a reason of the storage: permission, I/O error, disk full."""

    exit_code = ExitCode.STORAGE


# --- what is converted is at fault -------------------------------------------------------------------------------


class LegacyError(PatternStreamError):
    """A file, folder or store of another format cannot be converted as it is."""

    exit_code = ExitCode.CORRUPT


class MalformedSource(LegacyError):
    """What is to be converted does not have the shape that its format wants."""


class UnknownFormat(LegacyError):
    """A file or folder of no format that can be converted."""

    exit_code = ExitCode.UNSUPPORTED


class GraveIssues(LegacyError):
    """A conversion found issues that its caller does not want to pass."""

    exit_code = ExitCode.CONFLICT


# --- limits, transport, usage ------------------------------------------------------------------------------------


class LimitExceeded(PatternStreamError):
    """Something is larger than the format can hold."""

    exit_code = ExitCode.UNSUPPORTED


class DocumentTooLarge(LimitExceeded):
    """A memory document, or the edits that wait for it, are beyond the limit that the caller chose."""

    default_hint = "--max-document-bytes raises the limit"

    @property
    def code(self) -> str:
        """That of LimitExceeded: to scripts it is one more limit."""
        return LimitExceeded("").code


class UnencodableValue(PatternStreamError):
    """A value that DAG-CBOR cannot hold: NaN, an infinity, a large integer, a lone surrogate, a foreign type."""

    exit_code = ExitCode.UNSUPPORTED


class TransportError(PatternStreamError):
    """Bytes could not be read or written as asked."""

    exit_code = ExitCode.STORAGE


class StorageFull(TransportError):
    """The disk, or a limit on file size, has no room for what must be written."""


class FileMissing(TransportError):
    """A file that was named is not there."""

    exit_code = ExitCode.NOT_FOUND


class FileTaken(TransportError):
    """A file that would be written is there already."""

    exit_code = ExitCode.CONFLICT
    default_hint = "--force replaces it"


class UsageError(PatternStreamError):
    """The call asks for something that does not fit together."""

    exit_code = ExitCode.USAGE


class MissingExtra(UsageError):
    """A package that only some users need is not installed. `extra`: the name that installs it."""

    def __init__(self, message: str, extra: str) -> None:
        super().__init__(f"{message}, which is not installed", hint=f"pip install 'pattern-stream[{extra}]'")


class KeyFault(PatternStreamError):
    """A key, a passphrase or a signature is missing, or is another than the archive's."""

    exit_code = ExitCode.KEY


class WrongKey(KeyFault):
    """No key or passphrase that was given opens the archive."""


class KeyMissing(KeyFault):
    """The archive is encrypted, and no key was given."""


class ProtocolError(PatternStreamError):
    """Stages do not fit together: items came in an order that no stage of this package sends."""


class WorkerFailed(PatternStreamError):
    """The process that reads memory documents could not be started or kept alive."""


class OutOfResources(PatternStreamError):
    """The system, or a limit on this process, has no more memory, processes, threads or descriptors to give."""

    exit_code = ExitCode.STORAGE


DESCRIPTORS_HINT: Final = "close some files, or allow this process more: ulimit -n"
PROCESSES_HINT: Final = "end some processes, or allow this user more of them and of threads: ulimit -u"
MEMORY_HINT: Final = "free some memory, or allow this process more: ulimit -v, the limit of the container"
_RESOURCE_HINTS: Final = {
    errno.EMFILE: DESCRIPTORS_HINT,
    errno.ENFILE: DESCRIPTORS_HINT,
    errno.EAGAIN: PROCESSES_HINT,
    errno.ENOMEM: MEMORY_HINT,
}


_SCARCE: Final = {
    "Too many open files": errno.EMFILE,
    "can't start new thread": errno.EAGAIN,
    "Resource temporarily unavailable": errno.EAGAIN,
    "MemoryError": errno.ENOMEM,
    "Cannot allocate memory": errno.ENOMEM,
    "failed to map segment": errno.ENOMEM,
    "memory allocation of": errno.ENOMEM,
}


def scarce_number(words: str) -> int | None:
    """The errno that somebody means who found no room and has only words for it; None where they mean something else.

    # Trap: the interpreter's error for a thread has no number, and a library that cannot be loaded is an ImportError.
    """
    return next((number for said, number in _SCARCE.items() if said in words), None)


def resource_hint(number: int | None) -> str | None:
    """What helps where the system refuses a resource by this errno; None where it is none of those."""
    if number == errno.EAGAIN and memory_limit() is not None:  # a thread needs memory first of all
        number = errno.ENOMEM
    return _RESOURCE_HINTS.get(number or 0)


def memory_limit() -> int | None:
    """The address space that this process and its children are limited to, None where they are not."""
    most = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if most == resource.RLIM_INFINITY else most


def require_memory(least_bytes: int) -> None:
    """Raise OutOfResources where this process may have less address space."""
    most = memory_limit()
    if most is not None and most < least_bytes:
        message = f"this process may have {most >> 20} MiB of address space, expected at least {least_bytes >> 20} MiB"
        raise OutOfResources(message, hint=MEMORY_HINT)


def file_size_limit() -> int | None:
    """The largest file that this process may make, None where it is not limited."""
    most = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    return None if most == resource.RLIM_INFINITY else most


FILE_SIZE_HINT: Final = "the limit on file size (ulimit -f) or of the file system is reached"

_FULL: Final = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}


def storage_error(error: OSError, doing: str) -> TransportError:
    """What the storage said, as an error of ours. `doing`: what was being done with what: "writing x.car".

    A limit on the size of one file counts as a full disk: there is no room for what must be written.
    """
    kind = StorageFull if error.errno in _FULL else TransportError
    hint = resource_hint(error.errno)
    if error.errno == errno.EFBIG:
        hint = FILE_SIZE_HINT
    elif kind is StorageFull:
        hint = "free some space, or name another place: -o, --spool-dir, $TMPDIR"
    return kind(f"{doing}: {error.strerror or error}", hint=hint)


def making_folder(folder: object) -> str:
    """The hint of an error about a folder that is not there."""
    return f"make it first: mkdir -p {shlex.quote(str(folder))}"


@contextmanager
def storage_errors(doing: str) -> Iterator[None]:
    """Raises an OSError inside as `storage_error` has it. A closed pipe passes: no fault of the storage."""
    try:
        yield
    except ConnectionError:
        raise
    except OSError as error:
        raise storage_error(error, doing) from error


# --- findings: what is said without stopping ---------------------------------------------------------------------

Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something worth saying that does not stop the work. `code` is a stable slug."""

    severity: Severity
    code: str
    message: str
    where: Where = Where()
    hint: str | None = None

    def as_dict(self) -> dict[str, object]:
        """The JSON form used in summaries; `hint` is there where there is one."""
        found: dict[str, object] = {
            "severity": self.severity,
            "code": self.code,
            "message": self.message,
            "where": self.where.as_dict(),
        }
        return found if self.hint is None else found | {"hint": self.hint}

    @classmethod
    def of(cls, error: PatternStreamError, severity: Severity = "error") -> Finding:
        """An error as a finding, for work that goes on after it."""
        return cls(severity, error.code, error.message, error.where, error.hint)

    def __str__(self) -> str:
        place = str(self.where)
        return f"{self.message} ({place})" if place else self.message


Report = Callable[[Finding], None]
"""Where stages put findings; a list's `append` will do."""


def refuse(error: PatternStreamError) -> None:
    """Stop at the first thing that does not fit. A plan collects them instead: any callable that takes the error."""
    raise error


def ignore_findings(finding: Finding) -> None:
    """A `Report` that forgets."""
