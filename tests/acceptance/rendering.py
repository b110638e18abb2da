"""A memory document's deep value as the text the real program shows. Source: docs/memory.md#schemas, #rendering."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

Schema = dict[str, Any]


def render(metadata: Any, deep: dict[str, Any]) -> str:
    """The text of a document whose block has this metadata; no schema means Text."""
    schema = metadata.get("schema") if isinstance(metadata, dict) else None
    return _body(schema if isinstance(schema, dict) else {"Text": {}}, deep)


def _body(schema: Schema, deep: dict[str, Any]) -> str:
    ((kind, settings),) = schema.items()
    if kind == "Text":
        return _text(settings or {}, deep.get("content", ""))
    if kind == "Map":
        return "\n".join(_fields(settings["fields"], deep))
    if kind == "List":
        return "\n".join(_item(n, item) for n, item in enumerate(deep.get("items", []), 1))
    if kind == "Log":
        entries = deep.get("entries", [])[::-1][: settings["display_limit"]]
        return "\n".join(_entry(settings["entry_schema"], entry) for entry in entries)
    return "\n\n".join(_section(section, deep) for section in settings["sections"])


def _section(section: Schema, deep: dict[str, Any]) -> str:
    mark = " [read-only]" if section.get("read_only") else ""
    body = _body(section["schema"], deep)
    return f"=== {section['name']}{mark} ===" + (f"\n{body}" if body else "")


def _text(settings: dict[str, Any], text: str) -> str:
    window = settings.get("viewport")
    if not window:
        return text
    lines = re.split(r"\r?\n", text)
    lines = lines[:-1] if lines[-1] == "" else lines
    start, shown = max(window["start_line"], 1), window["display_lines"]
    if start > len(lines):
        return f"[Viewport: lines {start}-{start + shown - 1} of {len(lines)} (past end of content)]"
    end = min(start + shown - 1, len(lines))
    return "\n".join([f"[Showing lines {start}-{end} of {len(lines)}]", *lines[start - 1 : end]])


def _fields(fields: list[dict[str, Any]], deep: dict[str, Any]) -> Iterable[str]:
    for declared in fields:
        name = declared["name"]
        title = name + (" [read-only]" if declared.get("read_only") else "")
        if declared["field_type"] == "List":
            items = deep.get(f"list_{name}", [])
            yield from ([f"{title}:", *(f"- {_shown(item)}" for item in items)] if items else [])
        elif declared["field_type"] == "Counter":
            yield f"{title}: {int(deep.get(f'counter_{name}', 0))}"
        elif name in deep.get("fields", {}):
            yield f"{title}: {_shown(deep['fields'][name])}"


def _item(number: int, item: Any) -> str:
    """A task shows its box instead of its number, and itself whole."""
    if isinstance(item, dict) and isinstance(item.get("done"), bool):
        return f"[{'x' if item['done'] else ' '}] {_shown(item)}"
    return f"{number}. {_shown(item)}"


def _entry(schema: dict[str, Any], entry: Any) -> str:
    if not isinstance(entry, dict):
        return _shown(entry)
    parts = []
    if schema["timestamp"] and isinstance(entry.get("timestamp"), str):
        parts.append(f"[{entry['timestamp']}]")
    if schema["agent_id"] and isinstance(entry.get("agent_id"), str):
        parts.append(f"({entry['agent_id']})")
    parts += [_shown(entry[field["name"]]) for field in schema["fields"] if field["name"] in entry]
    return " ".join(parts)


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "[" + ", ".join(map(_shown, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_shown(item)}" for key, item in sorted(value.items())) + "}"
    return json.dumps(value)
