"""A memory document as the original lays it out: the schema in a block's metadata, the text it shows. Pure.

Nothing here knows Loro: the root containers are read by kind and name. The worker process loads this file by its path,
so it imports nothing but the standard library. Source: docs/memory.md#schemas, #rendering.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, Protocol

Schema = dict[str, Any]
"""A checked schema: one key, the variant, with its settings."""

TEXT: Final[Schema] = {"Text": {}}
"""The schema of a block whose metadata names no readable one."""

MAX_RENDERED_CHARS: Final = 64 * 1024 * 1024
"""Longest text that is rendered. Ours: a composite of a thousand sections repeats one text a thousand times."""


class RootContainers(Protocol):
    """The root containers of a document."""

    def read(self, kind: str, name: str) -> Any:
        """The values of a "text", "map", "list" or "counter"; one that is not there reads as empty."""


class RenderedTooLong(Exception):
    """The text would be longer than `MAX_RENDERED_CHARS`."""


# --- the schema --------------------------------------------------------------------------------------------------


def parse_schema(metadata: str | None) -> Schema:
    """The schema inside a block's metadata (JSON text), or the text schema where there is none that can be read."""
    try:
        schema = json.loads(metadata or "null")["schema"]
        return schema if _schema(schema) else TEXT
    except (ValueError, LookupError, TypeError, RecursionError):
        return TEXT


Check = Callable[[Any], bool]
_MISSING: Final = object()


def _object(**checks: Check) -> Check:
    """A JSON object whose members pass; others are of no interest."""
    return lambda value: (
        isinstance(value, dict) and all(check(value.get(key, _MISSING)) for key, check in checks.items())
    )


def _many(check: Check) -> Check:
    return lambda value: isinstance(value, list) and all(map(check, value))


def _optional(check: Check) -> Check:
    """A member that may be missing, or null."""
    return lambda value: value is _MISSING or value is None or check(value)


def _defaulted(check: Check) -> Check:
    """A member that may be missing, but not null."""
    return lambda value: value is _MISSING or check(value)


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 64


def _field_type(value: Any) -> bool:
    return value in ("Text", "Number", "Boolean", "List", "Timestamp", "Counter")


def _schema(value: Any) -> bool:
    if not isinstance(value, dict) or len(value) != 1:
        return False
    ((variant, settings),) = value.items()
    return variant in _VARIANTS and _VARIANTS[variant](settings)


_FIELDS: Final = _many(
    _object(name=_text, description=_text, field_type=_field_type, required=_flag, read_only=_defaulted(_flag))
)
_VARIANTS: Final[dict[str, Check]] = {
    "Text": _object(viewport=_optional(_object(start_line=_size, display_lines=_size))),
    "Map": _object(fields=_FIELDS),
    "List": _object(item_schema=_optional(_schema), max_items=_optional(_size)),
    "Log": _object(entry_schema=_object(timestamp=_flag, agent_id=_flag, fields=_FIELDS), display_limit=_size),
    "Composite": _object(
        sections=_many(
            _object(name=_text, schema=_schema, description=_optional(_text), read_only=_defaulted(_flag)),
        )
    ),
}


# --- the containers ----------------------------------------------------------------------------------------------


def containers(schema: Schema) -> Iterator[tuple[str, str]]:
    """(kind, name) of every root container that the schema uses; a name that no container can bear is left out."""
    ((variant, settings),) = schema.items()
    if variant == "Map":
        kinds = [(field["field_type"].lower(), field["name"]) for field in settings["fields"]]
        found = [("map", "fields"), *((kind, f"{kind}_{name}") for kind, name in kinds if kind in ("list", "counter"))]
    elif variant == "Composite":
        names, parts = [section["name"] for section in settings["sections"]], (("map", "fields"), ("text", "content"))
        found = [(kind, f"section_{name}_{part}") for name in names for kind, part in parts]
    else:
        found = [{"Text": ("text", "content"), "List": ("list", "items"), "Log": ("list", "entries")}[variant]]
    return (container for container in found if is_container_name(container[1]))


def is_container_name(name: str) -> bool:
    """Whether Loro takes it as the name of a root container; it panics on others."""
    return bool(name) and "/" not in name and "\0" not in name


def read_values(schema: Schema, reader: RootContainers) -> dict[str, Any]:
    """The document's values by container name, in the schema's order; every container of the schema is read."""
    return {name: reader.read(kind, name) for kind, name in containers(schema)}


# --- the text it shows -------------------------------------------------------------------------------------------


def render(schema: Schema, reader: RootContainers) -> str:
    """The text the original shows for the document, and keeps as the block's preview.

    Trap: the sections of a composite are rendered from the root containers of *their* schema, where nothing is, and not
    from the `section_...` containers that hold the data; this is what the original does.
    Source: docs/memory.md#rendering.
    """
    ((variant, settings),) = schema.items()
    return _RENDERERS[variant](settings, reader)


def _render_text(settings: dict[str, Any], reader: RootContainers) -> str:
    text, viewport = str(reader.read("text", "content")), settings.get("viewport")
    if viewport is None:
        return text
    start, shown = max(viewport["start_line"], 1), viewport["display_lines"]
    lines = split_lines(text)
    if start > len(lines):
        return f"[Viewport: lines {start}-{start + shown - 1} of {len(lines)} (past end of content)]"
    window = lines[start - 1 : start - 1 + shown]
    return "\n".join([f"[Showing lines {start}-{start - 1 + len(window)} of {len(lines)}]", *window])


def split_lines(text: str) -> list[str]:
    """Lines as the original splits them: at LF or CR LF, with no empty last line. Source: docs/memory.md#rendering."""
    if not text:
        return []
    *lines, last = text.split("\n")
    return [line.removesuffix("\r") for line in lines] + ([last] if last else [])


def _render_map(settings: dict[str, Any], reader: RootContainers) -> str:
    return "\n".join(line for field in settings["fields"] if (line := _render_field(field, reader)) is not None)


def _render_field(field: dict[str, Any], reader: RootContainers) -> str | None:
    name = f"{field['name']} [read-only]" if field.get("read_only") else field["name"]
    if field["field_type"] == "List":
        items = reader.read("list", f"list_{field['name']}")
        return "\n".join([f"{name}:", *(f"- {display(item)}" for item in items)]) if items else None
    if field["field_type"] == "Counter":
        return f"{name}: {_whole(reader.read('counter', 'counter_' + field['name']))}"
    values = reader.read("map", "fields")
    return f"{name}: {display(values[field['name']])}" if field["name"] in values else None


def _whole(value: float) -> int:
    """A float as a 64-bit integer the way Rust casts it: cut towards zero, limited at the ends, NaN is 0."""
    if abs(value) < 2.0**63:
        return int(value)
    return 0 if math.isnan(value) else 2**63 - 1 if value > 0 else -(2**63)


def _render_list(settings: dict[str, Any], reader: RootContainers) -> str:
    lines = []
    for number, item in enumerate(reader.read("list", "items"), 1):
        done = item.get("done") if isinstance(item, dict) else None
        mark = f"[{'x' if done else ' '}]" if isinstance(done, bool) else f"{number}."
        lines.append(f"{mark} {display(item)}")
    return "\n".join(lines)


def _render_log(settings: dict[str, Any], reader: RootContainers) -> str:
    entries, limit, schema = reader.read("list", "entries"), settings["display_limit"], settings["entry_schema"]
    lines = []
    for entry in reversed(entries[max(len(entries) - limit, 0) :]):
        if not isinstance(entry, dict):
            lines.append(display(entry))
            continue
        timestamp, agent = entry.get("timestamp"), entry.get("agent_id")
        parts = [f"[{timestamp}]"] if schema["timestamp"] and isinstance(timestamp, str) else []
        parts += [f"({agent})"] if schema["agent_id"] and isinstance(agent, str) else []
        parts += [display(entry[field["name"]]) for field in schema["fields"] if field["name"] in entry]
        lines.append(" ".join(parts))
    return "\n".join(lines)


def _render_composite(settings: dict[str, Any], reader: RootContainers) -> str:
    parts, length = [], 0
    for section in settings["sections"]:
        body = render(section["schema"], reader)
        heading = f"=== {section['name']}{' [read-only]' if section.get('read_only') else ''} ==="
        parts.append(f"{heading}\n{body}" if body else heading)
        length += len(parts[-1])
        if length > MAX_RENDERED_CHARS:
            raise RenderedTooLong(f"text is over {length} characters, limit is {MAX_RENDERED_CHARS}")
    return "\n\n".join(parts)


_RENDERERS: Final[dict[str, Callable[[dict[str, Any], RootContainers], str]]] = {
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
    """A float as the original prints it: shortest digits, plain from 0.00001 up to below 1e+16.
    Source: docs/database.md#json-columns."""
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
