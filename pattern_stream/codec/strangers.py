"""Files that people take for an archive: each named by its first bytes, with the way on."""

from __future__ import annotations

import codecs
from typing import Final

from pattern_stream.errors import ArchiveError, TruncatedArchive, UnsupportedContainer

HEAD_BYTES: Final = 4096
"""How much of a file is looked at."""

_UNPACK: Final = "unpack it first, for example: {} -dc FILE | pattern-stream inspect -"
_DECRYPT: Final = "decrypt it first: age -d -i KEY FILE | pattern-stream inspect -"
_MAGICS: Final = (
    (b"SQLite format 3\x00", "an SQLite database", "an archive is made from it: pattern-stream export --db FILE"),
    (b"\x1f\x8b", "a gzip file inside another", _UNPACK.format("gzip")),
    (b"\x28\xb5\x2f\xfd", "a zstd file inside another", _UNPACK.format("zstd")),
    (b"\xfd7zXZ\x00", "an xz file", _UNPACK.format("xz")),
    (b"BZh", "a bzip2 file", _UNPACK.format("bzip2")),
    (b"\x04\x22\x4d\x18", "an lz4 file", _UNPACK.format("lz4")),
    (b"PK\x03\x04", "a zip file", "unpack it first, and name the archive inside"),
    (b"Rar!\x1a\x07", "a RAR file", "unpack it first, and name the archive inside"),
    (b"%PDF-", "a PDF file", None),
    (b"\x89PNG\r\n", "an image", None),
    (b"\xff\xd8\xff", "an image", None),
    (b"GIF8", "an image", None),
    (b"\x7fELF", "a program", None),
    (b"version https://git-lfs", "a Git LFS pointer", "the file itself is fetched by: git lfs pull"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z file", "unpack it first, and name the archive inside"),
    (b"age-encryption.org/", "a file encrypted with age inside another", _DECRYPT),
    (b"-----BEGIN AGE ENCRYPTED FILE-----", "a file encrypted with age inside another", _DECRYPT),
    (
        b"-----BEGIN PGP MESSAGE",
        "a file encrypted with PGP",
        "decrypt it first: gpg -d FILE | pattern-stream inspect -",
    ),
    (b"-----BEGIN ", "a text file of keys or messages", None),
)
_WIDE_TEXT: Final = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
"""Marks that text begins with on other systems, and its encoding."""

_LEAST_TEXT_BYTES: Final = 4
"""Fewer bytes may be the beginning of anything."""

_TAR: Final = (257, b"ustar")
_PAGES: Final = (b"<!doctype html", b"<html")
_LETTA: Final = (b'"agents"', b'"agent_type"', b'\\"agents\\"', b'"core_memory"')


def stranger(head: bytes) -> ArchiveError | None:
    """The error that names a file which is no archive, by its first HEAD_BYTES bytes; None where it is not known."""
    if not head:
        hint = "did the export before it fail? Its exit code and its messages say so"
        return TruncatedArchive("archive ends after 0 bytes, inside its header: it is an empty file", hint=hint)
    named = _named(head)
    return None if named is None else UnsupportedContainer(f"{named[0]}, expected a CAR v1 archive", hint=named[1])


def _named(head: bytes) -> tuple[str, str | None] | None:
    for magic, name, hint in _MAGICS:
        if head.startswith(magic):
            return name, hint
    if head.startswith(_TAR[1], _TAR[0]):
        return "a tar file", "unpack it first, and name the archive inside"
    encoding = _WIDE_TEXT.get(head[:2])
    if encoding is not None:
        head = head[2:].decode(encoding, "replace").encode()
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text[:14].lower().startswith(_PAGES):
        return "a web page", "the download gave a page in place of the file: was it behind a login?"
    if not _is_text(text):
        return None
    if text.startswith((b"{", b"[", b'"')):
        if any(word in head for word in _LETTA):
            return "a Letta agent file (JSON)", "this release takes in archives of Pattern, not agent files of Letta"
        return "a JSON file", "an archive is binary; `dump` makes JSON of one, which is no archive any more"
    if b"CREATE TABLE" in text or text.startswith(b"PRAGMA "):
        hint = "make a database of it first: sqlite3 new.db < FILE, then pattern-stream export --db new.db"
        return "a text file of SQL", hint
    return "a text file", "an archive is binary: is this what another program printed?"


def _is_text(head: bytes) -> bool:
    """Whether this is the beginning of text. The last character may be cut."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return len(head) >= _LEAST_TEXT_BYTES and all(char.isprintable() or char in "\t\r\n\f\ufeff\ufffd" for char in text)
