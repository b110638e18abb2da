"""From the text that a document shows back to values that would show it: for documents of which only the text is left.

The text does not say all: of a log only what was shown, of a value not its type. Whoever writes these values compares
what they show with the text. Pure. Source: docs/memory.md#rescue.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from pattern_stream.memory.document import parse_schema

Edit = tuple[str, str, Any]
"""The kind and name of a root container, and all that is to be in it."""


def unrender(metadata: str | None, text: str) -> list[Edit]:
    """The containers' values for a text, by the schema in a block's metadata; none where no value would show it."""
    ((variant, settings),) = parse_schema(metadata).items()
    if variant == "Text":
        return [] if settings.get("viewport") else [("text", "content", text)]
    if variant == "Map":
        return list(_map(settings, text))
    if variant == "List":
        return [("list", "items", _items(text))]
    if variant == "Log":
        return [("list", "entries", [_entry(settings, line) for line in reversed(text.split("\n"))])]
    return []  # a composite shows headings alone


def _map(settings: dict[str, Any], text: str) -> Iterator[Edit]:
    """The fields, found in the order of the schema: a value goes on until the next field's name begins a line."""
    lines = text.split("\n")
    starts: list[tuple[int, dict[str, Any], str]] = []
    at = 0
    for field in settings["fields"]:
        head = f"{field['name']}{' [read-only]' if field.get('read_only') else ''}:"
        found = next((n for n in range(at, len(lines)) if lines[n] == head or lines[n].startswith(f"{head} ")), None)
        if found is not None:
            starts.append((found, field, head))
            at = found + 1
    values: dict[str, Any] = {}
    for number, (start, field, head) in enumerate(starts):
        end = starts[number + 1][0] if number + 1 < len(starts) else len(lines)
        body = "\n".join(lines[start:end])[len(head) :]
        kind, name = field["field_type"], field["name"]
        if kind == "List":
            yield "list", f"list_{name}", body.split("\n- ")[1:]
        elif kind == "Counter" and re.fullmatch(r" -?[0-9]{1,15}", body):
            yield "counter", f"counter_{name}", int(body)
        else:
            values[name] = _scalar(kind, body.removeprefix(" "))
    yield "map", "fields", values


def _scalar(kind: str, shown: str) -> Any:
    """A value of a field's type; text where the text is none of that type."""
    if kind in ("Number", "Boolean"):
        try:
            value = json.loads(shown)
        except ValueError:
            return shown
        return value if isinstance(value, bool if kind == "Boolean" else int | float) else shown
    return shown


def _items(text: str) -> list[str]:
    """The items of a list, each of which may have several lines."""
    items: list[str] = []
    for line in text.split("\n"):
        head = f"{len(items) + 1}. "
        if line.startswith(head):
            items.append(line.removeprefix(head))
        elif items:
            items[-1] += f"\n{line}"
    return items


def _entry(settings: dict[str, Any], line: str) -> dict[str, Any]:
    """An entry of a log: time and agent where the schema has them, and all the rest in its first field."""
    schema, entry = settings["entry_schema"], dict[str, Any]()
    for key, pattern in (("timestamp", r"\[([^\]]*)\] ?"), ("agent_id", r"\(([^)]*)\) ?")):
        if schema[key] and (found := re.match(pattern, line)):
            entry[key], line = found[1], line[found.end() :]
    if schema["fields"] and line:
        entry[schema["fields"][0]["name"]] = line
    return entry
