"""Files that are no archive, by their first bytes."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile
import zipfile

import pytest

from pattern_stream.codec.strangers import stranger
from pattern_stream.errors import ExitCode


def _tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("backup.car"))
    return out.getvalue()


def _zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("backup.car", b"x")
    return out.getvalue()


@pytest.mark.parametrize(
    ("head", "named"),
    [
        (b"SQLite format 3\x00" + bytes(84), "an SQLite database"),
        (gzip.compress(b"x"), "a gzip file inside another"),
        (bytes.fromhex("28b52ffd") + bytes(20), "a zstd file"),
        (lzma.compress(b"x"), "an xz file"),
        (bz2.compress(b"x"), "a bzip2 file"),
        (_zip(), "a zip file"),
        (_tar(), "a tar file"),
        (b"age-encryption.org/v1\n-> X25519 ", "a file encrypted with age"),
        (b"-----BEGIN AGE ENCRYPTED FILE-----\n", "a file encrypted with age"),
        (b"-----BEGIN SSH SIGNATURE-----\n", "a text file of keys or messages"),
        (b"\n<!DOCTYPE html><title>Log in", "a web page"),
        (json.dumps({"agents": [{"id": "agent-0"}]}).encode(), "a Letta agent file"),
        (json.dumps(json.dumps({"agents": []})).encode(), "a Letta agent file"),
        (json.dumps({"agent_type": "memgpt_agent"}, indent=2).encode(), "a Letta agent file"),
        (b"\xef\xbb\xbf" + json.dumps([1, 2]).encode(), "a JSON file"),
        (json.dumps({"a": 1}).encode("utf-16"), "a JSON file"),
        ("Grüße\r\nfrom elsewhere".encode("utf-16"), "a text file"),
        ("größer".encode() + b" and cut: \xc3", "a text file"),
        (b"date,agent\n2026-01-01,Anchor\n", "a text file"),
        (b"PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\n", "a text file of SQL"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer"),
        (b"-----BEGIN PGP MESSAGE-----\n", "a file encrypted with PGP"),
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3", "a PDF file"),
        (b"\x89PNG\r\n\x1a\n", "an image"),
        (b"Rar!\x1a\x07\x01\x00", "a RAR file"),
    ],
    ids=range(25),
)
def test_a_stranger_is_named(head: bytes, named: str) -> None:
    """What it is, what was expected, and what to do; exit 5, as another program may well read it."""
    error = stranger(head)

    assert error is not None
    assert error.message.startswith(named)
    assert error.message.endswith("expected a CAR v1 archive")
    assert ExitCode.UNSUPPORTED is error.exit_code


def test_an_empty_file_is_a_failed_export() -> None:
    """Exit 4, and the question that helps."""
    error = stranger(b"")

    assert error is not None
    assert ExitCode.CORRUPT is error.exit_code
    assert "did the export before it fail?" in str(error.hint)


@pytest.mark.parametrize("head", [b"\x3a\xa2eroots", b"\x00\x01\x02", b"{\xa2\x00", b"\xff" * 600])
def test_what_is_not_known_is_not_guessed(head: bytes) -> None:
    """An archive, or bytes of any kind: no name."""
    assert stranger(head) is None
