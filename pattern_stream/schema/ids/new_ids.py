"""New ids from old ones: a pure function in one id space, so that no map of ids is kept and no link breaks.

The kind of a thing only picks the prefix: an agent, and a text that names that agent as an owner, come out the same.
Batch ids are snowflakes; where one must change, its millisecond stays. Source: docs/format.md#new-ids.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from typing import Any, Final

import orjson
from blake3 import blake3

from pattern_stream.errors import Finding, MalformedNode, Report, UsageError, Where
from pattern_stream.format import CONSTELLATION_OWNER
from pattern_stream.quick_dataclass import dataclass
from pattern_stream.schema.ids.snowflakes import mint_batch, parse_snowflake
from pattern_stream.schema.mapping.json_values import describe, read_json, write_json
from pattern_stream.schema.model.cells import Large, NotUtf8, Row, StoredText
from pattern_stream.schema.model.fields import Reference
from pattern_stream.schema.model.id_columns import AGENT_LISTS, BLOCK_REFS, references_of
from pattern_stream.schema.model.records import DECLARED, Message, Record

KEY_BYTES: Final = 32
"""Length of the key of new ids."""

KEPT_IDS: Final = frozenset({CONSTELLATION_OWNER, "system", "user"})
"""Ids that mean the same in every constellation."""

_PREFIXES: Final[Mapping[Reference, str]] = {"memory_block": "mem_", "message": "msg_", "archival_entry": "arch_"}
_DIGEST_BYTES: Final = 16


def mint(key: bytes, old: str, kind: Reference) -> str:
    """The new id for an old one: prefix and 32 hex digits. Ids that mean the same everywhere stay."""
    if old in KEPT_IDS:
        return old
    return mint_bytes(key, old.encode(), kind)


def mint_bytes(key: bytes, old: bytes, kind: Reference) -> str:
    """The same of an id by its bytes: text that is no UTF-8 gets a new id too."""
    return _PREFIXES.get(kind, "") + blake3(old, key=key).digest(_DIGEST_BYTES).hex()


@dataclass(frozen=True, slots=True)
class Identity:
    """New ids under one key. `kept`: further ids that stay, since they are ids of the target already."""

    key: bytes = field(repr=False)
    kept: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if len(self.key) != KEY_BYTES:
            raise UsageError(f"key of new ids is {len(self.key)} bytes, expected {KEY_BYTES}")

    def mint(self, old: str, kind: Reference) -> str:
        """The new id of anything but a batch, which stays where it is a snowflake."""
        if kind == "batch":
            return old if parse_snowflake(old) is not None else mint_batch(self.key, old)
        return old if old in self.kept else mint(self.key, old, kind)

    def translate(self, record: type[Record], values: Mapping[str, Any]) -> dict[str, Any]:
        """A record with every id in it, and every reference, replaced."""
        found = dict(values)
        for one in record.fields:
            if one.names is not None and found[one.name] is not None:
                found[one.name] = self.mint(found[one.name], one.names)
        if record is Message:
            found["source_metadata"] = self.translate_refs(found["source_metadata"])
        return found

    def translate_refs(self, metadata: Any) -> Any:
        """A message's metadata with the ids inside its `block_refs` replaced; what has another shape stays."""
        if type(metadata) is StoredText:
            return StoredText(self.translate_text(str(metadata)))  # Trap: orjson takes no subclass of str.
        refs = metadata.get("block_refs") if isinstance(metadata, dict) else None
        if not isinstance(refs, list):
            return metadata
        return metadata | {"block_refs": [self._translate_ref(ref) for ref in refs]}

    def translate_text(self, text: str, *, deep: bool = False) -> str:
        """The same in JSON text, `deep`: at any depth of it. Text stays as it is where nothing in it changes."""
        if not may_hold_refs(text):
            return text
        try:
            before = read_json(text)
            after = self._translate_deep(before) if deep else self.translate_refs(before)
            return text if after == before else write_json(after)
        except ValueError:
            return text

    def _translate_deep(self, value: Any) -> Any:
        """Depth is bounded by `read_json`."""
        if isinstance(value, list):
            return [self._translate_deep(item) for item in value]
        if not isinstance(value, dict):
            return value
        return self.translate_refs({key: self._translate_deep(item) for key, item in value.items()})

    def translate_agents(self, text: str) -> str:
        """JSON text of an array of agents' ids; what has another shape stays."""
        try:
            before = read_json(text)
            if not isinstance(before, list):
                return text
            after = [self.mint(item, "agent") if isinstance(item, str) else item for item in before]
            return text if after == before else write_json(after)
        except ValueError:
            return text

    def _translate_ref(self, ref: Any) -> Any:
        if not isinstance(ref, dict):
            return ref
        kinds: tuple[tuple[str, Reference], ...] = (("block_id", "memory_block"), ("agent_id", "owner"))
        return ref | {name: self.mint(ref[name], kind) for name, kind in kinds if isinstance(ref.get(name), str)}


def may_hold_refs(text: str) -> bool:
    """Whether JSON text may have a member `block_refs`: spelled out, or behind an escape."""
    return "block_refs" in text or "\\u" in text


@dataclass(frozen=True, slots=True)
class RowTranslation:
    """The rows of one table with these columns, under new ids.

    Memory:  one row. A cell that is no text stays, with a warning, and so does one that is too large for its row.
    """

    identity: Identity
    table: str
    columns: tuple[str, ...]
    report: Report

    def translate(self, rows: Sequence[Row]) -> list[Row]:
        """The rows with every id and every reference in them replaced."""
        changes = [
            (at, change) for at, column in enumerate(self.columns) if (change := self._change(column)) is not None
        ]
        return [self._translated(row, changes) for row in rows] if changes else list(rows)

    def translate_cell(self, column: str, cell: Any) -> Any:
        """One cell of the table."""
        change = self._change(column)
        return cell if change is None else self._changed(column, change, cell)

    def translate_key(self, key: Any) -> Any:
        """The key of a cell: an id, or a JSON array of the ids of a key of several columns."""
        columns, references = DECLARED[self.table].key, references_of(self.table)
        if not isinstance(key, str):
            return key
        if len(columns) == 1:
            return self.identity.mint(key, references[columns[0]]) if columns[0] in references else key
        try:
            parts = orjson.loads(key)
        except ValueError:
            return key
        if not isinstance(parts, list) or len(parts) != len(columns) or not all(isinstance(p, str) for p in parts):
            return key
        minted = [self.identity.mint(part, references[column]) for part, column in zip(parts, columns, strict=True)]
        return orjson.dumps(minted).decode()

    def _change(self, column: str) -> Callable[[str], str] | None:
        """The change of text in a column, None where it stays."""
        identity = self.identity
        kind = references_of(self.table).get(column)
        if kind is not None:
            found = kind
            return lambda text: identity.mint(text, found)
        if column in AGENT_LISTS.get(self.table, ()):
            return identity.translate_agents
        if column not in BLOCK_REFS.get(self.table, ()):
            return None
        deep = self.table not in DECLARED
        return lambda text: identity.translate_text(text, deep=deep)

    def _translated(self, row: Row, changes: list[tuple[int, Callable[[str], str]]]) -> Row:
        require_width(row, self.columns, self.table)
        cells = list(row)
        for at, change in changes:
            if cells[at] is not None:
                cells[at] = self._changed(self.columns[at], change, cells[at])
        return tuple(cells)

    def _changed(self, column: str, change: Callable[[str], str], cell: Any) -> Any:
        if cell is None or isinstance(cell, str):
            return cell if cell is None else change(cell)
        kind = references_of(self.table).get(column)
        if type(cell) is NotUtf8 and kind is not None and kind != "batch":
            return mint_bytes(self.identity.key, cell, kind)
        where = Where(table=self.table, field=column)
        found = f"a cell of {cell.bytes} bytes" if type(cell) is Large else describe(cell)
        self.report(Finding("warning", "id-kept", f"found {found} where ids are: left as it is", where))
        return cell


def require_width(row: Row, columns: Sequence[str], table: str) -> None:
    """A row has a cell for each column. Raises MalformedNode."""
    if len(row) != len(columns):
        raise MalformedNode(f"row has {len(row)} cells, expected {len(columns)}", where=Where(table=table))
