"""The archives that other implementations are given: every scope, many chunks, numbers at the edges, nothing at all."""

from __future__ import annotations

import gzip
import sqlite3
from contextlib import closing
from functools import cached_property
from pathlib import Path
from typing import Final

import pytest

from tests.acceptance.running import Export, export_all
from tests.acceptance.world import World, making
from tests.cli.terminal import call
from tests.conftest import SHARED
from tests.memory.forging import forge

NAMES: Final = ("constellation", "agent", "history", "group", "thin", "numbers", "outgrown", "oversize", "empty")

NUMBERS: Final = (
    "[1.0, -0.0, 0.1, 1e300, 5e-324, 1.7976931348623157e308, 4503599627370496.0, 9007199254740993.0, 2.5, 0, -1,"
    " 9007199254740991, 9007199254740993, -9007199254740993, 18446744073709551615, -9223372036854775808,"
    ' {"1": 1, "10": 2.0, "9": 3, "": null, "\\u00e9": "\\u0000"}]'
)
"""Integral floats, both zeros, the smallest and largest, integers beyond 53 bits, keys that look like indexes."""

FRACTIONS: Final = (
    '{"n": [0.1, 2.5, -1e-7, 1e300, 5e-324, 9007199254740993, -9007199254740993, 18446744073709551615, 1]}'
)
"""What JavaScript keeps: fractions, floats beyond 53 bits, and integers, the large ones as BigInt."""

_LARGE_DOCUMENT: Final = """
import random
letters = random.Random(7)
text.push_str("".join(chr(letters.randrange(0x4E00, 0x9FFF)) for _ in range(220_000)))
snapshot()
"""
"""A snapshot of more than 900,000 bytes, which is two chunks of it."""


class Archives:
    """The archives by name, each world made when one of its archives is first asked for, in an empty folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __getitem__(self, name: str) -> Export:
        worlds = {
            "numbers": self._numbers, "outgrown": self._outgrown, "oversize": self._oversize, "empty": self._empty,
        }  # fmt: skip
        made = worlds[name] if name in worlds else self._demo[name]
        assert made.code == 0, made.stderr
        return made

    @cached_property
    def _demo(self) -> dict[str, Export]:
        """Every scope of a demo, with small chunks so that there are many."""
        database = self.folder / "demo.db"
        assert call(self.folder, "demo", "--db", database, "--messages", "900", "--seed", "7", "-q").code == 0
        runs = {
            "constellation": ("--max-messages-per-chunk", "50"),
            "agent": ("--scope", "agent", _busiest(database, "agents", "messages", "agent_id")),
            "history": ("--scope", "agent", "--history", _busiest(database, "agents", "messages", "agent_id")),
            "group": ("--scope", "group", _busiest(database, "agent_groups", "group_members", "group_id")),
            "thin": ("--scope", "group", "--thin", _busiest(database, "agent_groups", "group_members", "group_id")),
        }
        return export_all(database, self._new_folder("demo"), runs)

    @cached_property
    def _numbers(self) -> Export:
        """Odd numbers, a document of two chunks, and text enough for two chunks of messages."""
        (large,) = forge(_LARGE_DOCUMENT)
        contents = [NUMBERS, FRACTIONS, *['{"Text": "' + "x" * 60_000 + '"}'] * 20, NUMBERS]
        with making(self.folder / "numbers.db") as world:
            world.add("agents", id="a1")
            world.block("b1", "a1", loro_snapshot=large)
            _add_messages(world, contents)
        return self._exported("numbers")

    @cached_property
    def _outgrown(self) -> Export:
        """A message that no block holds: it travels in pieces, and the archive is of format version 4."""
        with making(self.folder / "outgrown.db") as world:
            world.add("agents", id="a1")
            _add_messages(world, ['{"Text": "' + "\u00e9" * 1_200_000 + '"}', NUMBERS])
        return self._exported("outgrown")

    @cached_property
    def _oversize(self) -> Export:
        """What the real program cannot export: rows, documents and lists beyond a block, of format version 4 too."""
        packed = SHARED / "fixtures/oversize/constellation.db.gz"
        if not packed.exists():
            pytest.skip(f"{packed} is not there: databases of the real program are not on this machine")
        (self.folder / "oversize.db").write_bytes(gzip.decompress(packed.read_bytes()))
        return self._exported("oversize")

    @cached_property
    def _empty(self) -> Export:
        """Nothing at all."""
        with making(self.folder / "empty.db"):
            pass
        return self._exported("empty")

    def _exported(self, name: str) -> Export:
        return export_all(self.folder / f"{name}.db", self._new_folder(name), {name: ()})[name]

    def _new_folder(self, name: str) -> Path:
        (self.folder / name).mkdir()
        return self.folder / name


def _add_messages(world: World, contents: list[str]) -> None:
    for number, content in enumerate(contents):
        world.add("messages", id=f"m{number}", agent_id="a1", position=f"{number:019}", content_json=content)


def _busiest(database: Path, table: str, rows: str, owner: str) -> str:
    """The id of the agent or group with the most rows."""
    with closing(sqlite3.connect(database)) as connection:
        query = (
            f"SELECT t.id FROM {table} t JOIN {rows} r ON r.{owner} = t.id GROUP BY t.id ORDER BY count(*) DESC, t.id"
        )
        return str(connection.execute(query).fetchone()[0])
