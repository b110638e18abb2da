"""The commands that are broken off, where they stand, and what old and new mean for each."""

from __future__ import annotations

import gzip
import os
import random
import shutil
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.acceptance.car import parse
from tests.acceptance.world import TIME, World
from tests.soak.contents import Contents, contents
from tests.soak.runner import End, Fate, Runner
from tests.soak.writer import Document

MESSAGES: Final = 60


@dataclass(frozen=True, slots=True)
class Scene:
    """One command. `files`: name in the place -> name in the store; `target`: what it makes or changes; `ahead`: with
    processes that read ahead, or decode ahead."""

    name: str
    arguments: tuple[str, ...]
    files: tuple[tuple[str, str], ...]
    target: str | None = None
    is_database: bool = False
    stdin: str = os.devnull
    stdout: str | None = None
    ahead: bool = False

    @property
    def replaces(self) -> bool:
        """Whether the target is there before."""
        return self.target in dict(self.files)


def _scene(name: str, line: str, files: str, target: str | None = None, **more: Any) -> Scene:
    pairs = [word.partition("=") for word in files.split()]
    held = tuple((place, store or place) for place, _, store in pairs)
    is_database = target is not None and target.endswith(".db")
    return Scene(name, (*line.split(), "-q"), held, target, is_database, **more)


EXPORT: Final = "export --db source.db --scope agent Quill"
"""Who is exported is one of those that the demonstration has, so that there are few pages to read and to write."""

IMPORT: Final = "import in.car --db new.db"
UNREAD: Final = "--no-verify-documents"
REPLACE: Final = f"{UNREAD} --on-conflict replace"
CHUNKED: Final = f"{EXPORT.replace('source', 'many')} -o chunks.car --max-messages-per-chunk 8"
"""Many chunks, each of more bytes than are decoded in one go."""

WHOLE: Final = "export --db whole.db -o out.car"

SCENES: Final = (
    _scene("export over a file", f"{EXPORT} -o out.car --force", "source.db out.car=old.car", "out.car"),
    _scene("export to a new file", f"{EXPORT} -o out.car --verify", "source.db", "out.car"),
    _scene("export to stdout", EXPORT, "source.db", stdout="out.car"),
    _scene("export, WAL left", f"{EXPORT} -o out.car", "source.db=left.db source.db-wal=left.db-wal", "out.car"),
    _scene("export, read ahead", f"{EXPORT} -o out.car", "source.db", "out.car", ahead=True),
    _scene("export whole", WHOLE, "whole.db", "out.car"),
    _scene("import, missing", f"{IMPORT} {UNREAD}", "in.car=archive.car", "new.db"),
    _scene("import, decoded ahead", f"{IMPORT} {UNREAD}", "in.car=chunks.car", "new.db", ahead=True),
    _scene(
        "import, vacant, stdin", f"import - --db new.db {UNREAD}", "in.car=shuffled.car new.db=vacant.db", "new.db",
        stdin="in.car",
    ),
    _scene("import, empty", IMPORT, "in.car=shuffled.car new.db=empty.db", "new.db"),
    _scene("import, living", IMPORT, "in.car=shuffled.car.gz new.db=living.db", "new.db"),
    _scene("import, living, stdin", f"import - --db new.db {UNREAD}", "in.car=archive.car new.db=living.db", "new.db",
           stdin="in.car"),
    _scene("import, replace", f"{IMPORT} {REPLACE}", "in.car=archive.car new.db=held.db", "new.db"),
    _scene("import, no WAL", f"{IMPORT} {UNREAD}", "in.car=archive.car new.db=rollback.db", "new.db"),
    _scene("import whole, missing", f"{IMPORT} {UNREAD}", "in.car=whole.car", "new.db"),
    _scene("import whole, living", f"{IMPORT} {UNREAD}", "in.car=whole.car new.db=living.db", "new.db"),
    _scene("verify", "verify in.car", "in.car=shuffled.car.gz"),
    _scene("verify against", "verify in.car --no-documents --against source.db", "in.car=archive.car source.db"),
    _scene("inspect", "inspect in.car", "in.car=shuffled.car", stdout="shown"),
    _scene("dump", "dump in.car", "in.car=shuffled.car", stdout="shown"),
    _scene("list", "list blocks --db source.db", "source.db", stdout="shown"),
    _scene("init", "init --db new.db", "", "new.db"),
    _scene("demo", "demo --db new.db --messages 0", "", "new.db"),
)  # fmt: skip


def scenes(names: Iterable[str]) -> list[Scene]:
    """Scenes by name, in their order."""
    wanted = set(names)
    return [scene for scene in SCENES if scene.name in wanted]


class Wrong(Exception):
    """Something that must not be."""


@dataclass(slots=True)
class Stage:
    """A runner with the store that its place is filled from, and what is known of old and new."""

    runner: Runner
    store: Path
    _outcomes: dict[str, bytes | Contents] = field(default_factory=dict)
    _printed: dict[str, bytes] = field(default_factory=dict)

    def set(self, scene: Scene) -> None:
        """Empty the place and fill it anew."""
        for path in self.runner.folder.iterdir():
            path.unlink()
        for name, stored in scene.files:
            shutil.copyfile(self.store / stored, self.runner.folder / name)

    def play(self, scene: Scene, *, fate: Fate = Fate(), kill_after: float | None = None) -> End:  # noqa: B008  frozen
        """The command of a scene, in the place as it is."""
        arguments = list(scene.arguments)
        return self.runner.run(
            arguments, fate=fate, kill_after=kill_after, stdin=scene.stdin, stdout=scene.stdout, ahead=scene.ahead
        )  # fmt: skip

    def rehearse(self, scene: Scene) -> End:
        """Run a scene undisturbed, and keep what it makes as its outcome. Raises Wrong where it fails."""
        self.set(scene)
        end = self.play(scene)
        if end.code or end.left:
            raise Wrong(f"{scene.name}: undisturbed, exit {end.code} and {end.left} processes left: {end.stderr}")
        if scene.target is not None:
            self._outcomes[scene.name] = self._look(scene, self.runner.folder / scene.target)
        if scene.stdout is not None:
            self._printed[scene.name] = (self.runner.folder / scene.stdout).read_bytes()
        return end

    def is_printed_whole(self, scene: Scene) -> bool:
        """Whether stdout holds all that it held undisturbed."""
        if scene.stdout is None:
            return True
        return self._printed[scene.name] == self._read(self.runner.folder / scene.stdout)

    def verdict(self, scene: Scene) -> str:
        """`old` or `new`, or Wrong: the target is neither, or something else was changed."""
        for name, stored in scene.files:
            if name != scene.target and self._read(self.runner.folder / name) != self._read(self.store / stored):
                raise Wrong(f"{name} was changed")
        if scene.target is None:
            return "old"
        path = self.runner.folder / scene.target
        if not path.exists() or (scene.is_database and not path.stat().st_size):
            return self._absent(scene, path)
        found = self._look(scene, path)
        if found == self._outcomes[scene.name]:
            return "new"
        if scene.replaces and found == self._look(scene, self.store / dict(scene.files)[scene.target]):
            return "old"
        raise Wrong(f"{scene.target} is neither old nor new")

    def strangers(self, scene: Scene) -> list[str]:
        """Files in the place that a finished command has no business to leave."""
        known = {name for name, _ in scene.files} | {scene.target, scene.stdout}
        databases = [name for name in known if name and name.endswith(".db")]
        known |= {name + suffix for name in databases for suffix in ("-wal", "-shm")}
        return sorted(path.name for path in self.runner.folder.iterdir() if path.name not in known)

    def _absent(self, scene: Scene, path: Path) -> str:
        stored = dict(scene.files).get(path.name)
        if (stored is not None) == path.exists() and (stored is None or not (self.store / stored).stat().st_size):
            return "old"
        raise Wrong(f"{path.name} is gone, or empty where it was not")

    def _look(self, scene: Scene, path: Path) -> bytes | Contents:
        return contents(path) if scene.is_database else path.read_bytes()

    @staticmethod
    def _read(path: Path) -> bytes | None:
        return path.read_bytes() if path.exists() else None


def furnish(runner: Runner, store: Path) -> Stage:
    """Fill the store: databases and archives that the scenes start from."""
    store.mkdir()
    _make(runner, f"demo --db source.db --messages {MESSAGES}", f"{EXPORT} -o archive.car")
    _make(runner, f"{EXPORT} -o old.car --no-messages --no-archival", "init --db empty.db")
    _make(runner, "init --db held.db", f"import old.car --db held.db {UNREAD}", "init --db whole.db")
    _make(runner, f"demo --db many.db --messages {5 * MESSAGES}", CHUNKED)
    _outgrow(runner.folder / "whole.db")
    _make(runner, WHOLE.replace("out.car", "whole.car"))
    for path in runner.folder.iterdir():
        path.replace(store / path.name)
    _leave_wal(store)
    (store / "vacant.db").touch()
    (store / "shuffled.car").write_bytes(shuffled((store / "archive.car").read_bytes()))
    (store / "shuffled.car.gz").write_bytes(gzip.compress((store / "shuffled.car").read_bytes(), mtime=0))
    _living(store, "living.db", journal="WAL")
    _living(store, "rollback.db", journal="DELETE")
    return Stage(runner, store)


def _make(runner: Runner, *lines: str) -> None:
    for line in lines:
        end = runner.run([*line.split(), "-q"])
        if end.code:
            raise Wrong(f"{line}: exit {end.code}: {end.stderr}")


def shuffled(archive: bytes) -> bytes:
    """The same archive with its sections in another order."""
    found = parse(archive)
    sections = list(found.sections)
    random.Random(7).shuffle(sections)
    return archive[:59] + b"".join(_length(36 + len(data)) + link + data for link, data in sections)


def _length(number: int) -> bytes:
    made = bytearray()
    while number > 127:
        made.append(number & 127 | 128)
        number >>= 7
    return bytes([*made, number])


def _living(store: Path, name: str, *, journal: str) -> None:
    """A small database with rows of its own that nothing of the archive collides with."""
    path = shutil.copyfile(store / "empty.db", store / name)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA journal_mode = {journal}")
        connection.execute("BEGIN")
        world = World(connection)
        for agent in ("anchor", "lantern"):
            world.add("agents", id=agent, name=agent)
            for number in range(30):
                text = '{"Text":"' + f"{agent} {number} " * 30 + '"}'
                world.add("messages", id=f"{agent}-{number}", agent_id=agent, content_json=text)
        connection.execute("COMMIT")


def _outgrow(path: Path) -> None:
    """Cells that are read and written in pieces, memory history, and rows that version 3 knows nothing of."""
    text, document = "long, longer, " * 4000, Document(0)
    with closing(sqlite3.connect(path)) as connection, connection:
        world = World(connection)
        world.add("agents", id="oak")
        world.add("messages", id="long", agent_id="oak", content_json=f'{{"Text":"{text}"}}')
        world.add("messages", id="gone", agent_id="oak", is_deleted=1)
        world.block("notes", "oak", metadata='{"schema":{"Text":{}}}', last_seq=2)
        for number in (1, 2):
            world.add("memory_block_updates", block_id="notes", seq=number, update_blob=document.edit(number))
        columns = "id, title, description, starts_at, created_at, updated_at"
        connection.execute(f"INSERT INTO events ({columns}) VALUES ('e', 't', ?, ?, ?, ?)", (text, *[TIME] * 3))


def _leave_wal(store: Path) -> None:
    """A database whose last transactions are in its WAL, as a program leaves it that was killed."""
    shutil.copyfile(store / "source.db", store / "written.db")
    with closing(sqlite3.connect(store / "written.db")) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        with connection:
            connection.execute("UPDATE agents SET system_prompt = system_prompt || ' (changed)'")
        for suffix in ("", "-wal"):
            shutil.copyfile(store / f"written.db{suffix}", store / f"left.db{suffix}")
