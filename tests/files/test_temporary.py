"""Temporary files go to the first folder that takes one, and have no name there."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from pattern_stream.errors import FileMissing, StorageFull, TransportError
from pattern_stream.files.partial import reserved
from pattern_stream.files.temporary import open_temporary, open_temporary_database, sqlite_error, temporary_folders


def test_folders_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Next to the output, then $TMPDIR, then /var/tmp, then the default; one that was asked for is the only one."""
    monkeypatch.setenv("TMPDIR", str(tmp_path / "t"))
    found = temporary_folders(None, tmp_path / "near")

    assert [tmp_path / "near", tmp_path / "t", Path("/var/tmp")] == found[:3]
    assert [tmp_path] == temporary_folders(tmp_path, tmp_path / "near")
    with pytest.raises(FileMissing) as caught:
        temporary_folders(tmp_path / "nowhere", None)
    assert 6 == caught.value.exit_code


def test_a_file_and_a_database_without_a_name(tmp_path: Path) -> None:
    """Both are in the first folder that takes them, can be written, and are not seen there."""
    folders = [tmp_path / "missing", tmp_path]
    file, folder = open_temporary(folders, "file")
    database, database_folder = open_temporary_database(folders, "database")
    with file:
        file.write(b"data")
        database.execute("CREATE TABLE t (x)")

        assert [] == list(tmp_path.iterdir())
    database.close()

    assert [tmp_path, tmp_path] == [folder, database_folder]


def test_no_folder_will_do(tmp_path: Path) -> None:
    """The message says what for, and names every folder that was tried."""
    with pytest.raises(TransportError, match=r"no shelf can be made in any of: .*missing, .*other: No such file"):
        open_temporary_database([tmp_path / "missing", tmp_path / "other"], "shelf")
    with pytest.raises(TransportError, match="no spool can be made in any of: : there is none"):
        open_temporary([], "spool")


def test_a_full_disk_is_known_by_its_code() -> None:
    """SQLite's result code says that the disk is full, whatever words its message has."""
    with sqlite3.connect(":memory:") as database:
        database.execute("CREATE TABLE t (x CONSTRAINT full CHECK (x < 9))")
        with pytest.raises(sqlite3.IntegrityError, match="full") as not_full:
            database.execute("INSERT INTO t VALUES (10)")
        database.execute("PRAGMA max_page_count = 2")
        with pytest.raises(sqlite3.OperationalError) as full:
            database.execute("CREATE TABLE u AS SELECT zeroblob(9000)")
    database.close()
    with pytest.raises(sqlite3.ProgrammingError) as closed:
        database.execute("SELECT 'full'")

    kinds = [type(sqlite_error(error.value, "writing")) for error in (not_full, full, closed)]
    assert [TransportError, StorageFull, TransportError] == kinds
    assert sqlite_error(full.value, "writing").message.startswith("writing: database or disk is full")


def test_a_database_of_a_program_that_was_killed_before_its_name_went(tmp_path: Path) -> None:
    """The next one in that folder removes the file; one that somebody holds stays."""
    held, left = (tmp_path / f".pattern-stream-{os.getuid()}-{number}.sqlite" for number in range(2))
    left.touch()
    with reserved(held):
        database, folder = open_temporary_database([tmp_path], "shelf")
        database.execute("CREATE TABLE a (b)")
        found = list(tmp_path.iterdir())
        database.close()

    assert (tmp_path, [held]) == (folder, found)
