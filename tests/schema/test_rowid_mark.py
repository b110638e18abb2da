"""The mark of the column that holds rowids, as it is read from an archive."""

from __future__ import annotations

from typing import Any

import pytest

from pattern_stream.schema.checks.check_rows import check_columns
from pattern_stream.schema.mapping.wire_values import Wrong

NAMED = {"name": "a", "type": ""}


def test_the_mark_stays() -> None:
    """With the value true; other keys of a column are skipped."""
    assert [NAMED | {"rowid": True}, NAMED | {"name": "b"}] == check_columns(
        [NAMED | {"rowid": True, "newer": 1}, NAMED | {"name": "b", "rowid": False}]
    )


@pytest.mark.parametrize(
    "columns", [[NAMED | {"rowid": 1}], [NAMED | {"rowid": True}, NAMED | {"name": "b", "rowid": True}]]
)
def test_other_marks(columns: list[dict[str, Any]]) -> None:
    """Something else than true, or two of them."""
    with pytest.raises(Wrong):
        check_columns(columns)
