"""A memory document as the original lays it out: the schema in a block's metadata, the text it shows. Pure.

Nothing here knows Loro: the containers are read through a `Reader`, by name and type. The worker process loads this
file by its path, so it imports nothing but the standard library. Source: database 7.3, 7.4.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, Protocol

Schema = dict[str, Any]
"""A checked schema: one key, the variant, holding its settings."""

TEXT: Final[Schema] = {"Text": {}}
"""What a block has whose metadata names no readable schema."""

MAX_RENDERED_CHARS: Final = 64 * 1024 * 1024
"""Longest text that is rendered. Ours: a composite of a thousand sections repeats one text a thousand times."""

FIELD_TYPES: Final = ("Text", "Number", "Boolean", "List", "Timestamp", "Counter")


class Reader(Protocol):
    """The root containers of a document; one that is not there reads as empty."""

    def text(self, name: str) -> str:
        """The text container of that name."""

    def map(self, name: str) -> dict[str, Any]:
        """The map container of that name."""

    def list(self, name: str) -> list[Any]:
        """The list container of that name."""

    def counter(self, name: str) -> float:
        """The counter container of that name."""


class RenderedTooLong(Exception):
    """The text would be longer than `MAX_RENDERED_CHARS`."""


# --- the schema --------------------------------------------------------------------------------------------------


def parse_schema(metadata: str | None) -> Schema:
    """The schema inside a block's metadata (JSON text), or the text schema where there is none that can be read."""
    try:
        schema = json.loads(metadata or "null")["schema"]
        return schema if _is_schema(schema) else TEXT
    except (ValueError, LookupError, TypeError, RecursionError):
        return TEXT


def _is_schema(schema: Any) -> bool:
    if not isinstance(schema, dict) or len(schema) != 1:
        return False
    (variant, settings), *_ = schema.items()
    check = _CHECKS.get(variant)
    return check is not None and isinstance(settings, dict) and check(settings)


def _is_text(settings: dict[str, Any]) -> bool:
    viewport = settings.get("viewport")
    return viewport is None or (
        isinstance(viewport, dict) and _is_size(viewport.get("start_line")) and _is_size(viewport.get("display_lines"))
    )


def _is_map(settings: dict[str, Any]) -> bool:
    return _are_fields(settings.get("fields"))


def _is_list(settings: dict[str, Any]) -> bool:
    item, most = settings.get("item_schema"), settings.get("max_items")
    return (item is None or _is_schema(item)) and (most is None or _is_size(most))


def _is_log(settings: dict[str, Any]) -> bool:
    entry = settings.get("entry_schema")
    return (
        isinstance(entry, dict)
        and all(isinstance(entry.get(flag), bool) for flag in ("timestamp", "agent_id"))
        and _is_size(settings.get("display_limit"))
        and _are_fields(entry.get("fields"))
    )


def _is_composite(settings: dict[str, Any]) -> bool:
    sections = settings.get("sections")
    return isinstance(sections, list) and all(_is_section(section) for section in sections)


def _is_section(section: Any) -> bool:
    return (
        isinstance(section, dict)
        and isinstance(section.get("name"), str)
        and _is_schema(section.get("schema"))
        and isinstance(section.get("description"), str | None)
        and isinstance(section.get("read_only", False), bool)
    )


def _are_fields(fields: Any) -> bool:
    return isinstance(fields, list) and all(_is_field(field) for field in fields)


def _is_field(field: Any) -> bool:
    return (
        isinstance(field, dict)
        and isinstance(field.get("name"), str)
        and isinstance(field.get("description"), str)
        and field.get("field_type") in FIELD_TYPES
        and isinstance(field.get("required"), bool)
        and isinstance(field.get("read_only", False), bool)
    )


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 64


_CHECKS: Final[dict[str, Callable[[dict[str, Any]], bool]]] = {
    "Text": _is_text,
    "Map": _is_map,
    "List": _is_list,
    "Log": _is_log,
    "Composite": _is_composite,
}


# --- where the content is ----------------------------------------------------------------------------------------


def containers(schema: Schema) -> Iterator[tuple[str, str]]:
    """(kind, name) of every root container that the schema uses; a name that no container can bear is left out."""
    ((variant, settings),) = schema.items()
    if variant == "Map":
        yield from _map_containers(settings["fields"])
    elif variant == "Composite":
        for section in settings["sections"]:
            yield from _usable(("map", f"section_{section['name']}_fields"))
            yield from _usable(("text", f"section_{section['name']}_content"))
    else:
        yield {"Text": ("text", "content"), "List": ("list", "items"), "Log": ("list", "entries")}[variant]


def _map_containers(fields: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    yield "map", "fields"
    for field in fields:
        if field["field_type"] in ("List", "Counter"):
            kind = field["field_type"].lower()
            yield from _usable((kind, f"{kind}_{field['name']}"))


def _usable(container: tuple[str, str]) -> Iterator[tuple[str, str]]:
    if is_container_name(container[1]):
        yield container


def is_container_name(name: str) -> bool:
    """Whether Loro takes it as the name of a root container; it panics on others."""
    return bool(name) and "/" not in name and "\0" not in name


def read_values(schema: Schema, reader: Reader) -> dict[str, Any]:
    """The document's values by container name, in the schema's order; every container of the schema is read."""
    read = {"text": reader.text, "map": reader.map, "list": reader.list, "counter": reader.counter}
    return {name: read[kind](name) for kind, name in containers(schema)}


# --- the text it shows -------------------------------------------------------------------------------------------


def render(schema: Schema, reader: Reader) -> str:
    """The text the original shows for the document, and keeps as the block's preview.

    Trap: the sections of a composite are rendered from the root containers of *their* schema, where nothing is, and not
    from the `section_...` containers that hold the data; this is what the original does. Source: database 7.4.
    """
    ((variant, settings),) = schema.items()
    return _RENDERERS[variant](settings, reader)


def _render_text(settings: dict[str, Any], reader: Reader) -> str:
    text, viewport = reader.text("content"), settings.get("viewport")
    if viewport is None:
        return text
    start, shown = max(viewport["start_line"], 1), viewport["display_lines"]
    lines = split_lines(text)
    if start > len(lines):
        return f"[Viewport: lines {start}-{start + shown - 1} of {len(lines)} (past end of content)]"
    window = lines[start - 1 : start - 1 + shown]
    return "\n".join([f"[Showing lines {start}-{start - 1 + len(window)} of {len(lines)}]", *window])


def split_lines(text: str) -> list[str]:
    """Lines as the original splits them: at LF or CR LF, with no empty last line. Source: database 7.4."""
    if not text:
        return []
    *lines, last = text.split("\n")
    return [line.removesuffix("\r") for line in lines] + ([last] if last else [])


def _render_map(settings: dict[str, Any], reader: Reader) -> str:
    return "\n".join(line for field in settings["fields"] if (line := _render_field(field, reader)) is not None)


def _render_field(field: dict[str, Any], reader: Reader) -> str | None:
    name = f"{field['name']} [read-only]" if field.get("read_only") else field["name"]
    if field["field_type"] == "List":
        items = reader.list(f"list_{field['name']}")
        return "\n".join([f"{name}:", *(f"- {display(item)}" for item in items)]) if items else None
    if field["field_type"] == "Counter":
        return f"{name}: {_whole(reader.counter('counter_' + field['name']))}"
    values = reader.map("fields")
    return f"{name}: {display(values[field['name']])}" if field["name"] in values else None


def _whole(value: float) -> int:
    """A float as a 64-bit integer the way Rust casts it: cut towards zero, held at the ends, NaN is 0."""
    if abs(value) < 2.0**63:
        return int(value)
    return 0 if math.isnan(value) else 2**63 - 1 if value > 0 else -(2**63)


def _render_list(settings: dict[str, Any], reader: Reader) -> str:
    return "\n".join(_render_item(number, item) for number, item in enumerate(reader.list("items"), 1))


def _render_item(number: int, item: Any) -> str:
    done = item.get("done") if isinstance(item, dict) else None
    return f"[{'x' if done else ' '}] {display(item)}" if isinstance(done, bool) else f"{number}. {display(item)}"


def _render_log(settings: dict[str, Any], reader: Reader) -> str:
    entries, limit = reader.list("entries"), settings["display_limit"]
    newest = reversed(entries[max(len(entries) - limit, 0) :])
    return "\n".join(_render_entry(entry, settings["entry_schema"]) for entry in newest)


def _render_entry(entry: Any, schema: dict[str, Any]) -> str:
    return " ".join(_entry_parts(entry, schema)) if isinstance(entry, dict) else display(entry)


def _entry_parts(entry: dict[str, Any], schema: dict[str, Any]) -> Iterator[str]:
    timestamp, agent = entry.get("timestamp"), entry.get("agent_id")
    if schema["timestamp"] and isinstance(timestamp, str):
        yield f"[{timestamp}]"
    if schema["agent_id"] and isinstance(agent, str):
        yield f"({agent})"
    yield from (display(entry[field["name"]]) for field in schema["fields"] if field["name"] in entry)


def _render_composite(settings: dict[str, Any], reader: Reader) -> str:
    parts, length = [], 0
    for section in settings["sections"]:
        body = render(section["schema"], reader)
        heading = f"=== {section['name']}{' [read-only]' if section.get('read_only') else ''} ==="
        parts.append(f"{heading}\n{body}" if body else heading)
        length += len(parts[-1])
        if length > MAX_RENDERED_CHARS:
            raise RenderedTooLong(f"text is over {length} characters, limit is {MAX_RENDERED_CHARS}")
    return "\n\n".join(parts)


_RENDERERS: Final[dict[str, Callable[[dict[str, Any], Reader], str]]] = {
    "Text": _render_text,
    "Map": _render_map,
    "List": _render_list,
    "Log": _render_log,
    "Composite": _render_composite,
}


def display(value: Any) -> str:
    """A value as the original shows it: strings bare, the rest like JSON, objects in the document's own order."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {display(member)}" for key, member in value.items()) + "}"
    if isinstance(value, bytes | list):
        return display_list(value)
    return display_number(value) if isinstance(value, float) else json.dumps(value)


def display_list(items: Iterable[Any]) -> str:
    """An array as the original shows it; bytes are an array of numbers."""
    return "[" + ", ".join(map(display, items)) + "]"


def display_number(value: float) -> str:
    """A float as the original prints it: shortest digits, plain from 0.00001 up to below 1e+16. Source: database 5."""
    if not math.isfinite(value):
        return "null"
    digits = repr(value)
    if "e" not in digits:
        return digits
    mantissa, exponent = digits.split("e")
    if int(exponent) == -5:
        sign, figures = ("-", mantissa[1:]) if mantissa[0] == "-" else ("", mantissa)
        return f"{sign}0.0000{figures.replace('.', '')}"
    return f"{mantissa}e{int(exponent):+d}"
