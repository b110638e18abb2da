"""Values too large for their record or row: moved out, the largest first, until the rest fits its block.
Source: docs/format.md#values-out-of-line.

Their bytes go out as blocks of their own, in pieces, before the block that they were moved out of is made. A cell that
is Large has no bytes here: they come as Pieces and pass straight through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field
from typing import Any, Final, Generic, TypeVar

from pattern_stream.codec import dagcbor
from pattern_stream.codec.cid import cid_of
from pattern_stream.errors import LimitExceeded, ProtocolError, Where
from pattern_stream.format import CID_BYTES, VALUE_PIECE_BYTES
from pattern_stream.items import Block, Piece, Row
from pattern_stream.quick_dataclass import dataclass
from pattern_stream.schema.checks.version_4 import EXTERNAL
from pattern_stream.schema.mapping.json_values import write_json
from pattern_stream.schema.model.cells import Large, NotUtf8, StoredText, movable_fields, move_order
from pattern_stream.schema.model.records import Record, canonical
from pattern_stream.stages.encode.row_chunks import encode_cell
from pattern_stream.stages.encode.splice import link_array, splice

Key = TypeVar("Key", str, int)

LEAST_MOVED_BYTES: Final = 1024
"""A smaller value is never moved out: its links would take nearly as much. Ours."""

_NO_CID: Final = bytes(CID_BYTES)


@dataclass(slots=True)
class Moved:
    """A value outside its record: how long it is, its bytes where they are at hand, the CIDs of its pieces so far."""

    size: int
    text: bool
    content: bytes | None
    cids: list[bytes] = field(default_factory=list)
    done_bytes: int = 0

    @property
    def is_complete(self) -> bool:
        """Whether all pieces have been made."""
        return self.done_bytes == self.size

    def add(self, data: bytes) -> Block:
        """The block of the next piece. Raises ProtocolError: no piece of this value."""
        self.done_bytes += len(data)
        last = self.done_bytes == self.size
        if self.done_bytes > self.size or not (
            len(data) == VALUE_PIECE_BYTES or (last and len(data) < VALUE_PIECE_BYTES)
        ):
            message = f"a value of {self.size} bytes got a piece of {len(data)} that ends at {self.done_bytes}"
            raise ProtocolError(message, where=Where(stage="encode"))
        value = {"data": dagcbor.bytes_head(len(data)) + data, "index": dagcbor.integer(len(self.cids))}
        encoded = splice(value)
        self.cids.append(cid_of(encoded))
        return Block(self.cids[-1], encoded)

    def fields(self) -> dict[str, bytes]:
        """The map that says where the value is; its length does not depend on whether the CIDs are known yet."""
        count = -(-self.size // VALUE_PIECE_BYTES)
        cids = [*self.cids, *[_NO_CID] * (count - len(self.cids))]
        return {"bytes": dagcbor.integer(self.size), "chunks": link_array(cids)}


@dataclass(slots=True)
class Body(Generic[Key]):
    """The values of a record or row: those that stay, encoded, and those that were moved out."""

    kept: dict[Key, bytes] = field(default_factory=dict)
    moved: dict[Key, Moved] = field(default_factory=dict)

    def largest(self) -> tuple[Key | None, int]:
        """The value to be moved out next, and how much goes with it; None where none is left."""
        raise NotImplementedError

    def move(self, key: Key) -> None:
        """Take a value out."""
        raise NotImplementedError

    def encoded(self) -> bytes:
        """The record or row as it stands in its node."""
        raise NotImplementedError

    @property
    def moved_bytes(self) -> int:
        """Bytes of all that was moved out."""
        return sum(moved.size for moved in self.moved.values())

    def waiting(self) -> list[Moved]:
        """What was moved out and has not been written, in the order of its keys."""
        return [self.moved[key] for key in self._order() if not self.moved[key].is_complete]

    def _order(self) -> Sequence[Key]:
        raise NotImplementedError

    def settle(self, fits: Callable[[], bool]) -> bool:
        """Move values out until it fits. Returns whether it does."""
        while not fits():
            key, _ = self.largest()
            if key is None:
                return False
            self.move(key)
        return True


class RecordBody(Body[str]):
    """The fields of a record."""

    def __init__(self, record: type[Record], values: Mapping[str, Any]) -> None:
        super().__init__()
        self._record = record
        self._values = values
        for name, value in values.items():
            if type(value) is Large:
                self.moved[name] = self._large(name, value)
            elif type(value) is StoredText:
                self.move(name)
            else:
                self.kept[name] = dagcbor.encode_record(value)

    def _large(self, name: str, value: Large) -> Moved:
        if name not in movable_fields(self._record):
            message = f"{name} of {self._record.noun} is {value.bytes} bytes, and must stay in its record"
            where = Where(stage="encode", table=self._record.table, row_id=str(self._values.get("id")), field=name)
            raise LimitExceeded(message, where=where)
        return Moved(value.bytes, value.text, None)

    def largest(self) -> tuple[str | None, int]:
        sizes = {field.name: len(self.kept.get(field.name, b"")) for field in self._record.wire_fields()}
        name = next(iter(move_order(self._record, sizes)), None)
        return (None, 0) if name is None or sizes[name] < LEAST_MOVED_BYTES else (name, sizes[name])

    def move(self, key: str) -> None:
        value = self._values[key]
        content = (value if isinstance(value, str) and not self._is_json(key) else _json_text(value)).encode()
        self.moved[key] = Moved(len(content), True, content)
        self.kept.pop(key, None)

    def _is_json(self, name: str) -> bool:
        return any(field.name == name and field.kind == "json" for field in self._record.wire_fields())

    def fields(self) -> dict[str, bytes]:
        """The fields as they stand in the record's map."""
        nulls = dict.fromkeys(self.moved, dagcbor.encode_record(None))
        if not self.moved:
            return self.kept
        external = splice({name: splice(moved.fields()) for name, moved in self.moved.items()})
        return self.kept | nulls | {EXTERNAL: external}

    def encoded(self) -> bytes:
        return splice(self.fields())

    def _order(self) -> Sequence[str]:
        return sorted(self.moved, key=canonical)


def _json_text(value: Any) -> str:
    return str(value) if type(value) is StoredText else write_json(value)


class RowBody(Body[int]):
    """The cells of a row of an extension table or of memory history; any text or BLOB may move out."""

    def __init__(self, row: Row) -> None:
        super().__init__()
        self._row = row
        for index, cell in enumerate(row):
            if type(cell) is Large:
                self.moved[index] = Moved(cell.bytes, cell.text, None)
            else:
                self.kept[index] = encode_cell(cell)

    def largest(self) -> tuple[int | None, int]:
        movable = [index for index in self.kept if isinstance(self._row[index], (str, bytes))]
        index = max(movable, key=lambda index: (len(self.kept[index]), -index), default=None)
        size = 0 if index is None else len(self.kept[index])
        return (None, 0) if size < LEAST_MOVED_BYTES else (index, size)

    def move(self, key: int) -> None:
        cell = self._row[key]
        content = cell.encode() if isinstance(cell, str) else bytes(cell)
        self.moved[key] = Moved(len(content), isinstance(cell, (str, NotUtf8)), content)
        del self.kept[key]

    def encoded(self) -> bytes:
        cells = [self.kept.get(index) or self._external(index) for index in range(len(self._row))]
        return dagcbor.array_head(len(cells)) + b"".join(cells)

    def _external(self, index: int) -> bytes:
        moved = self.moved[index]
        return splice({EXTERNAL: splice(moved.fields() | {"text": dagcbor.encode_record(moved.text)})})

    def _order(self) -> Sequence[int]:
        return sorted(self.moved)


def has_large_values(values: Any) -> bool:
    """Whether a record or row has a value that the fast encoder cannot encode: Large, or JSON that is not parsed."""
    return not _LARGE.isdisjoint(map(type, values))


_LARGE: Final = frozenset({Large, StoredText})


class Outflow:
    """What was moved out of one record or row, on its way to blocks in the order of its keys."""

    def __init__(self, waiting: Sequence[Moved]) -> None:
        self._waiting = list(waiting)

    @property
    def is_done(self) -> bool:
        """Whether no piece is waited for."""
        return not self._waiting

    def pump(self) -> Iterator[Block]:
        """The blocks of all that is at hand, up to the next value that comes in pieces."""
        while self._waiting:
            moved = self._waiting[0]
            if moved.content is None and not moved.is_complete:
                return
            for start in range(0, len(moved.content or b""), VALUE_PIECE_BYTES):
                yield moved.add((moved.content or b"")[start : start + VALUE_PIECE_BYTES])
            moved.content = None
            self._waiting.pop(0)

    def take(self, piece: Piece) -> Iterator[Block]:
        """The blocks that follow from one more piece."""
        yield self._waiting[0].add(piece.data)
        yield from self.pump()
