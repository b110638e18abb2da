"""Writes `db/ddl/rendered.py` from the declared tables: `python -m tests.db.ddl.rendering`, after a change of them."""

from __future__ import annotations

from pathlib import Path

from pattern_stream.db.ddl import builder, core_tables, extra_tables, rendered

PLACE = Path(rendered.__file__)

_HEAD = '''"""The DDL text of the declared tables and their indexes, made by `python -m tests.db.ddl.rendering`.

SQLAlchemy renders it from `core_tables` and `extra_tables`, but takes longer to load than a small import takes.
"""

from __future__ import annotations

from typing import Final

STATEMENTS: Final = (
'''


def text() -> str:
    """The module as it has to be."""
    made = builder.statements((*core_tables.TABLES, *extra_tables.TABLES))
    return _HEAD + "".join(f'    """{statement}""",\n' for statement in made) + ")\n"


if __name__ == "__main__":
    PLACE.write_text(text())
