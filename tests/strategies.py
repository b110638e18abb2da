"""All hypothesis strategies, derived from the schema: rows and records of any declared type."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from pattern_stream.schema.mapping.json_values import write_json
from pattern_stream.schema.model.fields import Field
from pattern_stream.schema.model.records import Record

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
"""Any text that UTF-8 can hold."""

finite_floats = st.floats(allow_nan=False, allow_infinity=False)
wire_integers = st.integers(-(2**63), 2**64 - 1)
column_integers = st.integers(-(2**63), 2**63 - 1)

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | wire_integers | finite_floats | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
"""Any JSON value that the wire can hold."""

column_instants = st.builds(
    lambda moment, digits: moment.strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0") + digits + "+00:00",
    st.datetimes(),
    st.sampled_from(["", ".120", ".123456", ".000001", ".123456789", ".000000001"]),
)
"""Timestamps in the usual column form."""

_roles = st.sampled_from(['{"type":"regular"}', '{"type":"supervisor"}', '{"type":"specialist","domain":"tea"}'])


def cells(field: Field) -> st.SearchStrategy[Any]:
    """Cells that a column may hold."""
    present: st.SearchStrategy[Any] = {
        "text": texts,
        "integer": column_integers,
        "flag": st.sampled_from([0, 1]),
        "json": json_values.map(write_json),
        "instant": column_instants,
        "choice": st.sampled_from(sorted(field.choices) or [""]),
        "strings": st.lists(texts, max_size=3).map(write_json),
        "role": _roles,
        "octets": st.binary(max_size=20),
        "blob": st.binary(max_size=50),
    }[field.kind]
    return st.none() | present if field.nullable else present


def rows(record: type[Record]) -> st.SearchStrategy[tuple[Any, ...]]:
    """Rows of a record type, in `columns` order."""
    return st.tuples(*(cells(field) for field in record.fields))
