"""Reading the root containers of a document, with limits on what they may hold. Knows Loro by its methods only.

The worker process loads this file by its path, so it imports nothing but the standard library.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

MAX_TEXT_BYTES: Final = 64 * 1024 * 1024
MAX_VALUES: Final = 2_000_000
MAX_VALUE_DEPTH: Final = 128

_JSON_TYPES: Final = (str, int, float, bytes, list, dict, type(None))
"""Types of values; anything else in their place stands for a nested container."""


class Fault(Exception):
    """The document cannot be used; the text says why. `steps`: the updates at fault, where the fault is in several."""

    def __init__(self, reason: str, steps: Sequence[int] = ()) -> None:
        super().__init__(reason)
        self.steps = list(steps)


class Grown(Fault):
    """The document is sound, but larger than anybody wants it."""


class ContainerReader:
    """Root containers by kind and name, each read once, with limits on what they may hold."""

    def __init__(self, doc: Any, is_usable: Callable[[str], bool]) -> None:
        self._doc, self._is_usable = doc, is_usable
        self._left = MAX_VALUES
        self._known: dict[tuple[str, str], Any] = {}

    def read(self, kind: str, name: str) -> Any:
        """The values of a "text", "map", "list" or "counter"; one that is not there reads as empty."""
        if (kind, name) not in self._known:
            read, empty = {
                "text": (self._text, ""),
                "map": (lambda key: self._values(self._doc.get_map(key).get_value()), {}),
                "list": (self._list, []),
                "counter": (lambda key: float(self._doc.get_counter(key).value), 0.0),
            }[kind]
            self._known[kind, name] = read(name) if self._is_usable(name) else empty
        return self._known[kind, name]

    def _text(self, name: str) -> str:
        text = self._doc.get_text(name)
        if text.len_utf8 > MAX_TEXT_BYTES:
            raise Fault(f"text {name} is {text.len_utf8} bytes, limit is {MAX_TEXT_BYTES} bytes")
        return str(text.to_string())

    def _list(self, name: str) -> Any:
        items = self._doc.get_list(name)
        if len(items) > self._left:
            raise Fault(f"list {name} has {len(items)} items, limit is {MAX_VALUES} values")
        return self._values(items.get_value())

    def _values(self, value: Any) -> Any:
        """The values without nested containers, which the original never writes; their depth and number checked."""
        level: Sequence[Any] = [value]
        for _ in range(MAX_VALUE_DEPTH):
            members = [m for v in level for m in (v.values() if isinstance(v, dict) else v)]
            self._left -= len(members)
            if self._left < 0:
                raise Fault(f"document holds over {MAX_VALUES} values, which is the limit")
            level = [member for member in members if isinstance(member, dict | list)]
            if not level:
                if isinstance(value, dict):
                    return {key: member for key, member in value.items() if isinstance(member, _JSON_TYPES)}
                return [member for member in value if isinstance(member, _JSON_TYPES)]
        raise Fault(f"values are nested deeper than {MAX_VALUE_DEPTH} levels")


def jsonable(value: Any) -> Any:
    """A value as JSON can hold it: bytes as numbers, no infinities. Its depth was checked."""
    if isinstance(value, dict):
        return {key: jsonable(member) for key, member in value.items()}
    if isinstance(value, list | bytes):
        return [jsonable(member) for member in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
