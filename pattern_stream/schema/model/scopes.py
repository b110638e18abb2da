"""The scope and the options of an export."""

from __future__ import annotations

from typing import Literal

from pattern_stream.errors import UsageError
from pattern_stream.format import DEFAULT_OWNER, MAX_CHUNK_MESSAGES, MAX_DOCUMENT_BYTES, TARGET_CHUNK_BYTES
from pattern_stream.quick_dataclass import dataclass

ScopeKind = Literal["constellation", "agent", "group"]


@dataclass(frozen=True, slots=True)
class Scope:
    """The scope a caller asks for. `name` is an id or a name, and an exact id wins; `kind` None: agent or group.

    Raises UsageError where the parts do not fit: a constellation with a name, a thin export of anything but a group.
    """

    kind: ScopeKind | None = "constellation"
    name: str | None = None
    thin: bool = False

    def __post_init__(self) -> None:
        if self.kind == "constellation" and self.name is not None:
            raise UsageError(f"a name ({self.name!r}) was given with scope constellation, which takes none")
        if self.kind != "constellation" and self.name is None:
            raise UsageError(f"scope {self.kind or 'agent or group'} needs a name or id, none was given")
        if self.thin and self.kind not in ("group", None):
            raise UsageError(f"--thin goes with scope group, found scope {self.kind}")


@dataclass(frozen=True, slots=True)
class ResolvedScope:
    """A scope that was found in a database: its kind, id and name (both None for a constellation)."""

    kind: ScopeKind
    id: str | None = None
    name: str | None = None
    thin: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """Where message chunks close. `max_chunk_bytes` is the sum of encoded messages, in bytes."""

    max_chunk_bytes: int = TARGET_CHUNK_BYTES
    max_messages: int = MAX_CHUNK_MESSAGES

    def __post_init__(self) -> None:
        for name, value in (("max-chunk-bytes", self.max_chunk_bytes), ("max-messages-per-chunk", self.max_messages)):
            if value < 1:
                raise UsageError(f"--{name} is {value}, expected at least 1")


@dataclass(frozen=True, slots=True)
class Selection:
    """The rows of the scope that are exported, and the owner a ConstellationExport names.

    `portable`: nothing beyond version 3, also not of a constellation. `history`: the history of memory blocks, also of
    an agent's or group's. `max_document_bytes`: what is read for one memory document is at most DOCUMENT_GROWTH times
    this.
    """

    messages: bool = True
    archival: bool = True
    owner: str = DEFAULT_OWNER
    portable: bool = True
    history: bool = False
    max_document_bytes: int = MAX_DOCUMENT_BYTES

    def with_tables(self, scope: ResolvedScope) -> bool:
        """Whether tables and cells beyond version 3 are exported."""
        return scope.kind == "constellation" and not self.portable

    def with_history(self, scope: ResolvedScope) -> bool:
        """Whether the history of memory blocks is exported."""
        return not scope.thin and (self.history or self.with_tables(scope))
