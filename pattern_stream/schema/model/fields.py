"""A value's homes: its column in SQLite, its key on the wire, its type in both.

Each helper declares one field of a record class (see `records`). From the declarations come the SELECT list, the
mapping both ways, the checks, the INSERT and the id policy.
"""

from __future__ import annotations

from typing import Any, Literal

from pattern_stream.quick_dataclass import dataclass

Kind = Literal["text", "integer", "flag", "json", "instant", "choice", "strings", "role", "octets", "blob"]
"""The kinds of fields (`mapping.kinds` has a class for each):

text        TEXT                                text string
integer     INTEGER                             integer
flag        INTEGER 0 or 1                      bool
json        TEXT (or a bare number)             any JSON value
instant     TEXT                                RFC 3339 text with Z
choice      TEXT, one of a set of spellings     the same text
strings     JSON TEXT, array of strings         array of text
role        JSON TEXT, object with `type`       map
octets      BLOB                                array of integers 0..255
blob        BLOB                                not on the wire by itself
"""

Reference = Literal[
    "agent", "group", "memory_block", "message", "archival_entry", "archive_summary", "owner", "batch", "row"
]
"""The thing an id names, which decides the form of new ids. `owner` is an agent, a group or a special owner; `row`
is a row of an extension table."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a record. Lengths and checks follow from `kind`.

    `column` is the name in SQLite, `name` the key on the wire. `missing` is the SQL literal read where an older schema
    lacks the column. `null_as` is what SQL NULL becomes on a wire that has no null there.
    """

    kind: Kind
    nullable: bool = False
    wire: bool = True
    choices: frozenset[str] = frozenset()
    names: Reference | None = None
    missing: str | None = None
    null_as: Any = None
    wire_nullable: bool = False
    column: str = ""

    @property
    def name(self) -> str:
        """The key on the wire, which for every field of this format is the column's name."""
        return self.column

    @property
    def may_be_large(self) -> bool:
        """Whether a value may be too large for its row or record: text and JSON, but no ids."""
        return self.kind in ("text", "json") and self.names is None


def text(*, nullable: bool = False, names: Reference | None = None, wire: bool = True) -> Any:
    """A text; `names` says that it is an id, and of what."""
    return Field("text", nullable, wire, names=names, wire_nullable=nullable)


def integer(*, nullable: bool = False, missing: str | None = None, null_as: int | None = None) -> Any:
    """A signed 64-bit integer."""
    return Field("integer", nullable, missing=missing, null_as=null_as, wire_nullable=nullable and null_as is None)


def flag(*, missing: str | None = None) -> Any:
    """0 or 1 in SQLite, a bool on the wire."""
    return Field("flag", missing=missing)


def json(*, nullable: bool = False) -> Any:
    """Any JSON value. On the wire null is a value here even where the column is NOT NULL."""
    return Field("json", nullable, wire_nullable=True)


def instant() -> Any:
    """A timestamp with nanoseconds."""
    return Field("instant")


def choice(*choices: str, nullable: bool = False) -> Any:
    """One of the original's enum spellings."""
    return Field("choice", nullable, choices=frozenset(choices), wire_nullable=nullable)


def strings(*, nullable: bool = False, missing: str | None = None) -> Any:
    """An array of text, JSON in SQLite. SQL NULL is an empty array on the wire, which has no null there."""
    return Field("strings", nullable, missing=missing, null_as=[] if nullable else None)


def role() -> Any:
    """A group member's role: `{"type": ...}`, for a specialist with a `domain`."""
    return Field("role", True, wire_nullable=True)


def octets(*, missing: str) -> Any:
    """Bytes that travel as an array of integers. # Trap: `frontier` is no byte string on the wire."""
    return Field("octets", True, missing=missing, wire_nullable=True)


def blob() -> Any:
    """Bytes that are no field of the record's own map on the wire."""
    return Field("blob", wire=False)
