"""The first bytes of what may lie round an archive. None of them starts a CAR: its header is a short map."""

from __future__ import annotations

from typing import Final

GZIP_MAGIC: Final = b"\x1f\x8b"
"""Starts a gzip member. Source: RFC 1952 2.3.1."""

ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
"""Starts a frame of zstd. Source: RFC 8878 3.1.1."""

SKIPPABLE_MAGICS: Final = tuple(bytes((0x50 + last, 0x2A, 0x4D, 0x18)) for last in range(16))
"""Start a frame of zstd that holds no content. Source: RFC 8878 3.1.2."""

AGE_MAGIC: Final = b"age-encryption.org/v1\n"
"""Starts an encrypted file. Source: C2SP, age.md."""

ARMOR_BEGIN: Final = b"-----BEGIN AGE ENCRYPTED FILE-----"
"""The first line of its text form."""
