"""Decoded records against their declarations, a whole batch at a time.

The rules are the original reader's: a nullable field may be missing and is then null; any other missing field refuses
the block; unknown keys are skipped. Whole columns of a batch are looked at; any fault sends the batch through the slow
form, value by value, which says the field and the fault. Source: docs/format.md#presence-and-null, #json-values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, Final

from pattern_stream.quick_dataclass import dataclass
from pattern_stream.schema.mapping.kinds import KINDS, LookAtValues, check_record
from pattern_stream.schema.model.records import Record

_AT_ONCE: Final = 64
"""Values that are looked at together: few enough for the processor's cache."""


@dataclass(frozen=True, slots=True)
class RecordChecker:
    """Decoded maps of one record type to checked records: known keys only, instants in their usual form."""

    record: type[Record]
    names: tuple[str, ...]
    cells_of: Callable[[Any], tuple[Any, ...]]
    types: tuple[frozenset[type] | None, ...]
    looks: tuple[tuple[int, LookAtValues], ...]

    def check(self, values: Sequence[Any], path: str = "") -> list[dict[str, Any]]:
        """One record a value. Raises MalformedNode naming the field by its path from the block's own map."""
        checked: list[dict[str, Any]] = []
        for start in range(0, len(values), _AT_ONCE):
            checked += self._check(values[start : start + _AT_ONCE], start, path)
        return checked

    def _check(self, values: Sequence[Any], start: int, path: str) -> Sequence[dict[str, Any]]:
        try:
            rows = list(map(self.cells_of, values))
            if self._fits(rows):
                whole = set(map(len, values)) == {len(self.names)}
                return values if whole else [dict(zip(self.names, row, strict=True)) for row in rows]
        except (KeyError, TypeError, ValueError):
            pass  # the slow form finds the field
        return [
            check_record(self.record, value, f"{path}[{index}]" if path else "")
            for index, value in enumerate(values, start)
        ]

    def check_single(self, value: dict[str, Any], path: str = "") -> dict[str, Any]:
        """As `check`, for one map, which may have keys of its own beside the record's."""
        try:
            row = self.cells_of(value)
            if self._fits([row]):
                return dict(zip(self.names, row, strict=True))
        except (KeyError, TypeError, ValueError):
            pass
        return check_record(self.record, value, path)

    def _fits(self, rows: list[tuple[Any, ...]]) -> bool:
        columns = list(zip(*rows, strict=True))
        for allowed, column in zip(self.types, columns, strict=False):
            if allowed is not None and not allowed.issuperset(map(type, column)):
                return False
        return all(look(columns[index]) for index, look in self.looks if columns)


_CHECKERS: Final[dict[type[Record], RecordChecker]] = {}


def record_checker(record: type[Record]) -> RecordChecker:
    """The checker of a record type, put together once."""
    if record not in _CHECKERS:
        fields = record.wire_fields()
        names = tuple(field.name for field in fields)
        types = tuple(
            None if sent is None else frozenset({sent, type(None)} if field.wire_nullable else {sent})
            for field, sent in ((field, KINDS[field.kind].sent) for field in fields)
        )
        looks = tuple(
            (index, look)
            for index, field in enumerate(fields)
            if (look := KINDS[field.kind].look_at_values(field)) is not None
        )
        _CHECKERS[record] = RecordChecker(record, names, itemgetter(*names), types, looks)
    return _CHECKERS[record]
