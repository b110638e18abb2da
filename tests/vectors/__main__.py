"""Makes the archives that tests/vectors/archives lacks, with the program as it is: `python -m tests.vectors`.

An archive that is there is never made again. After a change of the wire, give the form another name and run it.
"""

from __future__ import annotations

import gzip
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import orjson

from pattern_stream import __version__
from tests.acceptance.documents import make_documents
from tests.acceptance.world import TIME, World, making

FOLDER: Final = Path(__file__).with_name("archives")
INDEX: Final = FOLDER / "index.json"
EPOCH: Final = "1767323045"
BATCH: Final = "31358194177998848"
NOT_COUNTED: Final = ("sqlite_", "_sqlx_", "messages_fts", "memory_blocks_fts", "archival_fts")
"""What the tables begin with that SQLite, the migrations or an index fill."""


@dataclass(frozen=True, slots=True)
class Form:
    """One form of the wire: how it is exported, from which database, and single cells that must come back."""

    fill: Callable[[World], None]
    arguments: tuple[str, ...]
    cells: tuple[str, ...] = ()
    packed: bool = False

    @property
    def suffix(self) -> str:
        """Large blocks of one letter are kept gzipped."""
        return ".car.gz" if self.packed else ".car"


def small(world: World) -> None:
    """Two agents in a group, and something in every kind of row; what version 3 cannot hold is there too."""
    plain, shared, own = make_documents([["Likes tea.", "Met in May. ", "Undone. "], ["Shared."], ["Of the group."]])
    for name in ("ada", "ben"):
        world.add("agents", id=name, config='{"temperature":1.0}', enabled_tools='["search"]')
    world.add("agents", id="alone", status="archived", tool_rules="null", description="in no group")
    world.add("agent_groups", id="duo", pattern_config='{"bias":0.12345678901234567}')
    world.add("group_members", group_id="duo", agent_id="ada", role='{"type":"specialist","domain":"tea"}')
    world.add("group_members", group_id="duo", agent_id="ben", capabilities=None)
    text = '{"schema":{"Text":{}}}'
    world.block("persona", "ada", loro_snapshot=plain.base, last_seq=2, metadata=text, embedding_model="small")
    for seq, blob in enumerate(plain.updates, 1):
        active = int(seq == 1)
        world.add(
            "memory_block_updates", block_id="persona", seq=seq, update_blob=blob, source="agent", is_active=active
        )
    world.add(
        "memory_block_checkpoints", block_id="persona", snapshot=plain.base, created_at="2026-01-01T00:00:00+00:00"
    )
    world.block("shared", "alone", attached=("ada", "ben"), loro_snapshot=shared.base, content_preview="Shared.")
    world.block("of the group", "duo", loro_snapshot=own.base, content_preview="Of the group.")
    world.block("of all", "_constellation_")
    world.block("asleep", "ben", is_active=0)
    for number, (kind, content) in enumerate(
        (
            ("Text", '"hello"'),
            ("Parts", '[{"Text":"part"}]'),
            ("Blocks", '[{"Text":{"text":"-0.0"}}]'),
            ("Text", '"gone"'),
        )
    ):
        cells = {"position": str(int(BATCH) + number), "batch_id": BATCH, "sequence_in_batch": number}
        deleted = int(content == '"gone"')
        world.add(
            "messages",
            id=f"m{number}",
            agent_id="ada",
            content_json=f'{{"{kind}":{content}}}',
            is_deleted=deleted,
            **cells,
        )
    world.add("archival_entries", id="child", agent_id="ada", parent_entry_id="parent", metadata='{"n":1e300}')
    world.add("archival_entries", id="parent", agent_id="ada", chunk_index=None)
    world.add("archival_entries", id="of nobody", agent_id="departed")
    world.add(
        "archive_summaries", id="second", agent_id="ada", previous_summary_id="first", start_position="3", depth=1
    )
    world.add("archive_summaries", id="first", agent_id="ada")
    run = world.connection.execute
    run("INSERT INTO tasks (id, title, created_at, updated_at) VALUES ('t', 'tea', ?, ?)", [TIME, TIME])
    run("UPDATE tasks SET notes = CAST(x'ff' AS TEXT), estimated_minutes = 9e999")
    run("INSERT INTO queued_messages (id, target_agent_id, content) VALUES ('q', 'ada', 'later')")


def wide(world: World) -> None:
    """What only version 4 has a form for: a large message, a large cell beside version 3, links and maps in pages."""
    world.add("agents", id="a", enabled_tools='["' + "t" * 998_900 + '"]')
    for number in range(28):
        world.add("archival_entries", id=f"e{number}", agent_id="a")
    world.add("messages", id="large", agent_id="a", content_json='{"Text":"' + "x" * 1_000_100 + '"}')
    for letter in "bcdefghi":
        world.add("agents", id=letter * 130_000, name=letter)
    world.connection.execute(
        "INSERT INTO queued_messages (id, target_agent_id, content) VALUES ('q', 'a', ?)", ["y" * 1_000_100]
    )


def bordered(world: World) -> None:
    """Messages, edits and rows of a table some of whose keys are borders: more than one chunk of each, with index 0."""
    (document,) = make_documents([["One. ", "Two. ", "Three. "]])
    world.add("agents", id="ada")
    world.block("persona", "ada", loro_snapshot=document.base, last_seq=2, metadata='{"schema":{"Text":{}}}')
    for seq, blob in enumerate(document.updates, 1):  # 65 is a border
        world.add("memory_block_updates", id=63 + seq, block_id="persona", seq=seq, update_blob=blob)
    for place, number in enumerate((174, 173, 172, 429, 1)):  # m173 and m429 are borders
        world.add("messages", id=f"m{number}", agent_id="ada", position=str(int(BATCH) + place), batch_id=BATCH)
    for task in ("t206", "t207", "t5", "t608", "t9"):  # t207 and t608 are borders
        world.connection.execute(
            "INSERT INTO tasks (id, title, created_at, updated_at) VALUES (?, 'tea', ?, ?)", [task, TIME, TIME]
        )


LOSSY: Final = (
    "SELECT typeof(capabilities) FROM group_members WHERE agent_id = 'ben'",
    "SELECT tool_rules FROM agents WHERE id = 'alone'",
    "SELECT typeof(chunk_index) FROM archival_entries WHERE id = 'parent'",
    "SELECT embedding_model FROM memory_blocks WHERE id = 'persona'",
    "SELECT hex(notes) || typeof(notes) || estimated_minutes FROM tasks",
    "SELECT group_concat(is_active) FROM (SELECT is_active FROM memory_block_updates ORDER BY seq)",
)
SHARED: Final = (
    "SELECT json_extract(role, '$.domain') FROM group_members WHERE agent_id = 'ada'",
    "SELECT group_concat(id) FROM (SELECT id FROM messages ORDER BY position)",
    "SELECT parent_entry_id FROM archival_entries WHERE id = 'child'",
    "SELECT previous_summary_id FROM archive_summaries WHERE id = 'second'",
)
FORMS: Final = {
    "v3-agent": Form(small, ("ada",), SHARED[1:]),
    "v3-agent-history": Form(small, ("ada", "--history"), (*SHARED[1:], LOSSY[-1])),
    "v3-group": Form(small, ("duo",), SHARED),
    "v3-thin-group": Form(small, ("duo", "--thin"), ("SELECT name FROM agent_groups",)),
    "v3-portable": Form(small, ("--portable",), SHARED),
    "v3-whole": Form(small, (), (*SHARED, *LOSSY)),
    "v3-borders": Form(
        bordered,
        (),
        (
            "SELECT group_concat(id) FROM (SELECT id FROM messages ORDER BY position)",
            "SELECT group_concat(id) FROM (SELECT id FROM tasks ORDER BY id)",
            "SELECT group_concat(id) FROM (SELECT id FROM memory_block_updates ORDER BY seq)",
        ),
    ),
    "v4-whole": Form(
        wide,
        (),
        (
            "SELECT length(content_json) || substr(content_json, 1, 12) FROM messages",
            "SELECT length(content) || substr(content, -1) FROM queued_messages",
            "SELECT group_concat(DISTINCT length(id)) FROM agents",
        ),
        packed=True,
    ),
}  # fmt: skip


def run(*arguments: str | Path) -> bytes:
    """Standard output of our own command."""
    command = [sys.executable, "-m", "pattern_stream", *map(str, arguments), "-q"]
    return subprocess.run(
        command, env=os.environ | {"SOURCE_DATE_EPOCH": EPOCH}, stdout=subprocess.PIPE, check=True
    ).stdout


def rows_of(database: Path) -> dict[str, int]:
    """Rows by table, of those tables that have any."""
    with closing(sqlite3.connect(database)) as connection:
        tables = [
            name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY 1")
        ]
        mine = [name for name in tables if not name.startswith(NOT_COUNTED)]
        counts = {name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in mine}
    return {name: count for name, count in counts.items() if count}


def cells_of(database: Path, queries: tuple[str, ...]) -> dict[str, object]:
    """The answers to queries that have one cell each."""
    with closing(sqlite3.connect(database)) as connection:
        return {sql: connection.execute(sql).fetchone()[0] for sql in queries}


def make(name: str, form: Form, folder: Path) -> dict[str, object]:
    """One archive, and its entry in the index."""
    source, restored, path = folder / f"{name}.db", folder / f"{name}-restored.db", FOLDER / f"{name}{form.suffix}"
    with making(source) as world:
        form.fill(world)
    raw = run("export", *form.arguments, "--db", source)
    path.write_bytes(gzip.compress(raw, mtime=0) if form.packed else raw)
    found = orjson.loads(run("verify", path, "--json"))
    run("import", path, "--db", restored)
    return {
        "made_by": f"pattern-stream {__version__}",
        "export": " ".join(form.arguments),
        "version": found["version"],
        "root": found["root"],
        "rows": rows_of(restored),
        "cells": cells_of(restored, form.cells),
    }


def main() -> None:
    """Make what is missing."""
    index = orjson.loads(INDEX.read_bytes()) if INDEX.exists() else {}
    with TemporaryDirectory() as folder:
        for name, form in FORMS.items():
            if f"{name}{form.suffix}" not in index:
                index[f"{name}{form.suffix}"] = make(name, form, Path(folder))
    INDEX.write_bytes(
        orjson.dumps(index, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)
    )


if __name__ == "__main__":
    main()
