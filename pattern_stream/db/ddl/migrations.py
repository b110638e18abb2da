"""The migrations that make the schema, as the original notes them in `_sqlx_migrations`.
Source: docs/database.md#migrations.

The original compares version and checksum of each row on every open, and refuses a file where one differs.
"""

from __future__ import annotations

from typing import Final

from pattern_stream.db.connection.connection import Connection
from pattern_stream.errors import UnsupportedSchema, Where
from pattern_stream.items import Row
from pattern_stream.quick_dataclass import dataclass


@dataclass(frozen=True, slots=True)
class Migration:
    """One migration: its number, its words and the SHA-384 of its file."""

    version: int
    description: str
    checksum: bytes


# fmt: off
MIGRATIONS: Final = tuple(Migration(version, description, bytes.fromhex(digest)) for version, description, digest in (
    (1, "initial",
     "6962df7e7542c509bcb0040defa641e90a6f4df7f7492cdeead7e8793b3e1c6993b9af1b0fe178fa2a50405fc90d975d"),
    (2, "fts5",
     "99536f908a2e8f2525f79a0e295780d67435d8e0bc78046e6a400627df5750da054cf6b7ffc76cdec310a16c078c167c"),
    (3, "model fields",
     "9c57462c5053f1a8ed0dc1678bf1fa71e3491b3faa541d6df10f9d0d933d7dcc19fb616ccc7725853361659b2290bae7"),
    (4, "memory updates",
     "0776800bf5368594ca7a731bb329b0c9c17ed0aeef91456d5d8f1e4c8149fcfeb596e9b38c64496dd9a2fa593bfc6548"),
    (5, "queued messages",
     "22e8ed556ffedf556faf5cf27b7699ee55fdd9eb94c5fa5287716d059646a18c03b0278bbe3b0e40a69d33d36309b7d3"),
    (6, "archival fts metadata",
     "17574d75fe4a4fad2d86ea33d0940abdcc450f5591f459c296251dee4f3558db448d0980c45e490d078f0bb0aba0e06e"),
    (7, "message tombstones",
     "2fe11275ee81d5bb8130ee569b013e90b3d244fc366844ca77c57bb382da0488b2c8f32e60aca90183a50dd035ebbd00"),
    (9, "agent atproto endpoints",
     "5cfd7ff345b26121175b1a385d9fad010d59a3ff843ea766bb5a62a3f804b29a6e677643207c6fd1fa87534cc8df4b9a"),
    (10, "add session id to atproto endpoints",
     "015391ac771e136759e3651ff8e5ab20e4e861105f19a88c6562899557151d8377ba70ab56442844bebd35f5ca280791"),
    (11, "member capabilities",
     "d627b8511616cc3084c1d429beea1b6059eb2aabe2481c3608c1e6d0058f5f3c32b3b65947e611ee62cf86483a2dd71e"),
    (12, "queued message full content",
     "e7d61b116099f1ac41498975e220f93a8de3b18f2756d93d7d788521d5d0b98f6fda34f883fd593af094de158543251b"),
    (13, "update frontiers",
     "17670d54a2130e32b41eb32c3bc4abf0b4316dad398df89f91124800048df00e96e9b0a365de18254ff2fb4bfa1f6032"),
))
# fmt: on
"""All migrations, by version; there is no version 8."""

_CHECKSUMS: Final[dict[object, bytes]] = {migration.version: migration.checksum for migration in MIGRATIONS}

SCHEMA_VERSION: Final = MIGRATIONS[-1].version
"""The version of a database that this program makes, and the only one it writes into."""

_WHERE: Final = Where(table="_sqlx_migrations")


async def schema_version(connection: Connection) -> int:
    """The highest migration noted in a database, known here or not; 0 where none is noted."""
    return max((version for version, _, _ in await _noted(connection) if isinstance(version, int)), default=0)


async def require_writable_schema(connection: Connection) -> None:
    """Refuse a schema that is not exactly the one declared here.

    Raises UnsupportedSchema: migrations are missing, unknown, failed, or another text than the known one.
    """
    noted = {version: (success, checksum) for version, success, checksum in await _noted(connection)}
    if unknown := [str(version) for version in noted if version not in _CHECKSUMS]:
        raise UnsupportedSchema(
            f"found migration {', '.join(unknown)}, which is not known here; the newest known one is {SCHEMA_VERSION}",
            where=_WHERE,
            hint="a newer pattern-stream may know it",
        )
    if missing := [str(version) for version in _CHECKSUMS if version not in noted]:
        raise UnsupportedSchema(
            f"found a database without migration {', '.join(missing)}, expected all up to {SCHEMA_VERSION} for writing",
            where=_WHERE,
            hint="open it once with Pattern, which brings it up to date, and try again",
        )
    for version, (success, checksum) in noted.items():
        if not success:
            raise UnsupportedSchema(f"migration {version} is marked as failed, expected success", where=_WHERE)
        if checksum != _CHECKSUMS[version]:
            raise UnsupportedSchema(
                f"migration {version} has another checksum than the known one",
                where=_WHERE,
                hint="the original program refuses such a database as well; import into a new one",
            )


async def _noted(connection: Connection) -> list[Row]:
    """Version, success and checksum of each noted migration; nothing where the table is missing."""
    there = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = '_sqlx_migrations'"
    if not await connection.execute(there):
        return []
    noted = "SELECT version, success, checksum FROM _sqlx_migrations"
    return await connection.execute(noted, table="_sqlx_migrations")
