"""Virtual tables, and the ordinary tables in which their modules keep the content of each (shadow tables).

SQLite names shadow tables only where their module is loaded, so a shadow is known by all that its module gives it: the
virtual table's name with one of the module's suffixes, and its first column. The tables of a module that is not known
here are ordinary ones. Source: docs/database.md#full-text-search; https://www.sqlite.org/vtab.html (xShadowName).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from pattern_stream.quick_dataclass import dataclass

VECTORS: Final = "embeddings"
"""The virtual table of vectors, which can be made again from the texts of the other tables."""

_FTS_3: Final = {"content": "docid", "docsize": "docid", "segments": "blockid", "segdir": "level", "stat": "id"}
_RTREE: Final = {"rowid": "rowid", "node": "nodeno", "parent": "nodeno"}
_MODULES: Final[Mapping[str, Mapping[str, str]]] = {
    "fts3": _FTS_3,
    "fts4": _FTS_3,
    "fts5": {"docsize": "id", "content": "id", "data": "id", "idx": "segid", "config": "k"},
    "rtree": _RTREE,
    "rtree_i32": _RTREE,
    "geopoly": _RTREE,
    "vec0": {
        "rowids": "rowid",
        "chunks": "chunk_id",
        r"vector_chunks\d\d": "rowid",
        "info": "key",
        "auxiliary": "rowid",
        r"metadatachunks\d\d": "rowid",
        r"metadatatext\d\d": "rowid",
    },
}
"""By module: patterns of suffixes with the name of the shadow's first column. Those that have a row for each row of the
virtual table stand first."""

_name: Final = r"""(?:"(?:[^"]|"")*"|`(?:[^`]|``)*`|'(?:[^']|'')*'|\[[^\]]*\]|[^\s"'`\[(]+)"""
_declaration: Final = re.compile(
    rf"CREATE\s+VIRTUAL\s+TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?{_name}\s*USING\s+[\"'`\[]?(\w+)[\"'`\]]?(.*)",
    re.IGNORECASE | re.DOTALL,
).match
_content_of: Final = re.compile(r"""[(,]\s*["'`\[]?content["'`\]]?\s*=\s*["'`\[]?([^"'`\],)]*)""", re.IGNORECASE).search


@dataclass(frozen=True, slots=True)
class VirtualTable:
    """A virtual table of a known module. `derived`: its rows can be made again from those of other tables.

    `counted`: the shadow table that has a row for each of its rows, as far as there is one.
    """

    name: str
    derived: bool
    shadows: frozenset[str]
    counted: str


def virtual_tables(declarations: Iterable[tuple[str, str]], first_columns: Mapping[str, str]) -> list[VirtualTable]:
    """The virtual tables that have shadow tables. `first_columns`: the first column of each table that stores rows."""
    found = []
    lower = {name.lower(): name for name in first_columns}
    for name, sql in declarations:
        declared = _declaration(sql)
        module = declared[1].lower() if declared is not None else ""
        content = _content_of(declared[2]) if declared is not None and module.startswith("fts") else None
        shadows = []
        for suffix, first in _MODULES.get(module, {}).items():
            if suffix == "content" and content is not None:
                continue  # the index keeps no text, so a table of that name is somebody's own
            named = re.compile(rf"{re.escape(name.lower())}_{suffix}").fullmatch
            shadows += [
                lower[table] for table in sorted(lower) if named(table) and first_columns[lower[table]].lower() == first
            ]
        if shadows:
            derived = name == VECTORS if content is None else bool(content[1].strip())
            found.append(VirtualTable(name, derived, frozenset(shadows), shadows[0]))
    return found
