"""Values outside their record or row, put back into it or handed on in pieces."""

from __future__ import annotations

from codecs import getincrementaldecoder
from collections.abc import Callable, Iterator
from typing import Any, Final

from pattern_stream.codec.cid import cid_text
from pattern_stream.errors import Finding, MalformedNode, Report, Where
from pattern_stream.format import BATCH_BYTES
from pattern_stream.items import Node, Open, Piece, RecordEvent
from pattern_stream.schema.model.cells import External, Large, NotUtf8, StoredText
from pattern_stream.schema.model.records import Record

_decoder: Final = getincrementaldecoder("utf-8")


def moved_values(content: Any) -> dict[Any, External]:
    """The values of a record, or of a row, that were moved out of it, in the order of its keys."""
    if External not in map(type, content.values() if type(content) is dict else content):
        return {}  # so it is with nearly all
    items = content.items() if type(content) is dict else enumerate(content)
    return {key: value for key, value in items if type(value) is External}


class Restoring:
    """A record or row whose values are still coming: few bytes are put back, many are handed on as they come.

    `make`: the event of the record or row. `names`: of a row's columns. `after`: events that follow.
    """

    def __init__(
        self,
        make: Callable[[Any], Any],
        content: Any,
        external: dict[Any, External],
        node: Node,
        record: type[Record] | None,
        after: tuple[RecordEvent, ...] = (),
        names: tuple[str, ...] = (),
    ) -> None:
        self._make = make
        self._content = content
        self._external = external
        self._node = node
        self._record = record
        self._after = after
        self._names = names
        self._is_large = sum(value.bytes for value in external.values()) > BATCH_BYTES
        self._pieces: dict[Any, list[bytes]] = {key: [] for key in external}
        self._got = dict.fromkeys(external, 0)
        self._decoders = {key: _decoder() for key in external} if record is not None else {}

    def start(self) -> Iterator[RecordEvent]:
        """The event itself where the values follow it."""
        if self._is_large:
            yield self._make(self._with({key: Large(value.bytes, value.text) for key, value in self._external.items()}))

    def add(self, node: Node, *, tolerate: Report | None) -> Iterator[RecordEvent]:
        """One more piece. Raises MalformedNode: a text of a record that is no UTF-8."""
        key, data = node.value["of"], node.value["data"]
        self._got[key] += len(data)
        if not self._is_large:
            self._pieces[key].append(data)
            return
        if self._record is not None:
            self._decode(key, data, tolerate)
        yield Piece(key if isinstance(key, str) else self._names[key], data)

    def _decode(self, key: Any, data: bytes, tolerate: Report | None) -> str:
        """A text as far as it has come, piece by piece where it is large."""
        whole = self._got[key] == self._external[key].bytes
        try:
            return str(self._decoders[key].decode(data, final=whole))
        except UnicodeDecodeError as error:
            self._tell(key, tolerate, error)
            return ""

    def _tell(self, key: Any, tolerate: Report | None, cause: UnicodeDecodeError) -> None:
        table = self._record.table if self._record is not None else None
        where = Where(
            stage="unchunk", offset=self._node.offset, cid=cid_text(self._node.cid), table=table,
            row_id=str(self._content["id"]), field=key,
        )  # fmt: skip
        fault = MalformedNode(f"text outside its record is no UTF-8 ({cause.reason})", where=where)
        if tolerate is None:
            raise fault from cause
        tolerate(Finding.of(fault))

    def finish(self, *, tolerate: Report | None) -> Iterator[RecordEvent]:
        """The event with all values in it, unless it went before them; and what follows.

        What is not whole is damage that was told already: of it only what opens a node is handed on.
        """
        if not self._is_large:
            whole = all(self._got[key] == value.bytes for key, value in self._external.items())
            event = self._make(self._with({key: self._restored(key, tolerate) for key in self._external}))
            if whole or isinstance(event, Open):
                yield event
        yield from self._after

    def _restored(self, key: Any, tolerate: Report | None) -> Any:
        data = b"".join(self._pieces[key])
        if self._record is not None:
            text = self._decode(key, data, tolerate)
            kinds = {field.name: field.kind for field in self._record.wire_fields()}
            return StoredText(text) if kinds[key] == "json" else text
        if not self._external[key].text:
            return data
        try:
            return data.decode()
        except UnicodeDecodeError:
            return NotUtf8(data)

    def _with(self, values: dict[Any, Any]) -> Any:
        if type(self._content) is dict:
            return self._content | values
        return tuple(values.get(index, cell) for index, cell in enumerate(self._content))
