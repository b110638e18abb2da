"""What the blocks behind one key must come to together, as the node that links them says.
Source: docs/format.md#memory-history, #extension-tables, #version-4."""

from __future__ import annotations

from typing import Any, Protocol

from pattern_stream.errors import MalformedNode, Where
from pattern_stream.format import VALUE_PIECE_BYTES
from pattern_stream.items import Counted
from pattern_stream.quick_dataclass import dataclass
from pattern_stream.schema.checks.version_4 import collection_edge
from pattern_stream.schema.model.nodes import NodeType


class Expected(Protocol):
    """One key's blocks, looked at one by one. `broken`: one was missing or wrong, so the end proves nothing."""

    broken: bool

    def take(self, node: type[NodeType], value: dict[str, Any]) -> None:
        """One more. Raises MalformedNode."""

    def finish(self) -> None:
        """There are no more. Raises MalformedNode."""


@dataclass(slots=True)
class Numbered:
    """Blocks that count themselves from 0."""

    index: int = 0
    broken: bool = False

    def take(self, node: type[NodeType], value: dict[str, Any]) -> None:
        """One more. Raises MalformedNode."""
        if value["index"] != self.index and not self.broken:
            raise malformed(f"found index {value['index']}, expected {self.index}", "index")
        self.index += 1

    def finish(self) -> None:
        """Their number follows from the links."""


@dataclass(slots=True)
class Pages(Numbered):
    """The pages of a collection of `count` elements."""

    count: int = 0
    found: int = 0

    def take(self, node: type[NodeType], value: dict[str, Any]) -> None:
        """One more page. Raises MalformedNode."""
        Numbered.take(self, node, value)
        self.found += len(value[collection_edge(node).name])
        if self.found > self.count:
            raise malformed(f"pages hold {self.found} or more, expected {self.count}", "count")

    def finish(self) -> None:
        """Whether all elements were there."""
        if self.found != self.count:
            raise malformed(f"pages hold {self.found}, expected {self.count}", "count")


@dataclass(slots=True)
class RowsOf:
    """The chunks of a table, or of a memory block's history: `width` cells a row; `count` rows, where that is said.

    # Rule: the index of a chunk may be any number. Source: docs/format.md#where-chunks-close.
    """

    table: str | None = None
    width: int = 0
    count: int | None = None
    found: int = 0
    broken: bool = False

    def take(self, node: type[NodeType], value: dict[str, Any]) -> None:
        """One more chunk. Raises MalformedNode."""
        if self.table is not None and value["table"] != self.table:
            raise malformed(f"found rows of {value['table']!r}, expected {self.table!r}", "table")
        rows = value["rows"]
        if rows and not isinstance(rows, Counted) and len(rows[0]) != self.width:
            raise malformed(f"found rows of {len(rows[0])} cells, expected {self.width}", "rows")
        self.found += len(rows)

    def finish(self) -> None:
        """Whether all rows were there."""
        if self.count is not None and self.found != self.count:
            raise malformed(f"chunks hold {self.found} rows, expected {self.count}", "count")


@dataclass(slots=True)
class PiecesOf(Numbered):
    """The pieces of a value of `size` bytes."""

    size: int = 0
    found: int = 0

    def take(self, node: type[NodeType], value: dict[str, Any]) -> None:
        """One more piece: of the usual length, the last of what is left. Raises MalformedNode."""
        Numbered.take(self, node, value)
        expected = min(VALUE_PIECE_BYTES, self.size - VALUE_PIECE_BYTES * value["index"])
        if len(value["data"]) != expected:
            raise malformed(f"piece is {len(value['data'])} bytes, expected {expected}", "data")
        self.found += len(value["data"])


def malformed(message: str, field: str) -> MalformedNode:
    """The refusal, which a walk completes with the place."""
    return MalformedNode(message, where=Where(field=field))
