"""JSON text that its value would not bring back equal: found in a whole column at once, and told apart exactly."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pattern_stream.schema.mapping.json_values import all_come_back, comes_back, equal_json, read_json
from pattern_stream.schema.model.cells import Large

LOST = [
    '{"wei":123456789012345678901234567890}',
    "[18446744073709551616]",
    "[-9223372036854775809]",
    '{"price":0.1234567890123456789}',
    "[12345678901234567e1]",
    "[0.30000000000000004441]",
    "[1e-400]",
    "[4.9e-324]",
    '{"a":1,"a":1}',
    '{"a":1,"b":{"x":[],"x":[]}}',
    '{"a":":","a":1}',
    '{"a":"\\u003a","a":1}',
    '{"a":1,"\\u0061":2}',
    "[-0]",
]
KEPT = [
    '{"b":1,"a":2}',
    '{ "a" : [1, 2.50, 1e5, 1E-7],\n"b": null}',
    "[18446744073709551615,-9223372036854775808]",
    "[0.1,5e-324,1.7976931348623157e308,-0.0]",
    "[0.30000000000000004]",
    '["\\u00e9\\u003a", "123456789012345678901234567890"]',
    "[0.10000000000000000]",
    "null",
]


@pytest.mark.parametrize("text", LOST)
def test_what_a_value_loses(text: str) -> None:
    """In a column of its own and among others, whatever spaces there are."""
    spaced = text.replace(",", " ,\t")

    assert not comes_back(text, read_json(text))
    assert not comes_back(spaced, read_json(spaced))
    assert not all_come_back(["{}", None, text], [{}, None, read_json(text)])


@pytest.mark.parametrize("text", KEPT)
def test_what_a_value_keeps(text: str) -> None:
    """Order of different members, spaces, spelling of numbers and escapes make no difference."""
    assert comes_back(text, read_json(text))
    assert all_come_back([text, Large(5, True), None, 7], [read_json(text), Large(5, True), None, 7])


@pytest.mark.parametrize(
    ("left", "right", "equal"),
    [
        ('{"a":1,"b":2}', '{"b":2,"a":1}', True),
        ('{"a":1,"a":2}', '{"a":2,"a":1}', False),
        ('{"a":1,"b":0,"a":2}', '{"b":0,"a":1,"a":2}', True),
        ("[1]", "[1.0]", False),
        ("[1.10]", "[11e-1]", True),
        ("[0.0]", "[-0.0]", False),
        ("[1e99999]", "[1e99998]", False),
        ("[true]", "[1]", False),
        ('["1"]', "[1]", False),
        ("[", "[", False),
    ],
)
def test_equal_texts(left: str, right: str, equal: bool) -> None:
    """Numbers are compared as decimals of any length, members with their repetition."""
    assert equal is equal_json(left, right)


def test_a_unit_of_the_last_place() -> None:
    """As the original reads floats; integers have no such freedom."""
    assert equal_json("[0.3]", "[0.30000000000000004]", ulps=1)
    assert not equal_json("[0.3]", "[0.3000000000000002]", ulps=1)
    assert not equal_json("[30000000000000000]", "[30000000000000001]", ulps=1)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**25), 10**25)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
)


@given(st.lists(VALUES), st.booleans())
def test_the_quick_look_is_the_slow_one(values: list[object], spaced: bool) -> None:
    """Text of Python's own making, with spaces or without: the look at a column judges as exact comparison does."""
    texts = [
        json.dumps(value, ensure_ascii=False, separators=(", ", ": ") if spaced else (",", ":")) for value in values
    ]
    read = [read_json(text) for text in texts]
    slow = [equal_json(text, json.dumps(value)) for text, value in zip(texts, read, strict=True)]

    assert slow == [comes_back(text, value) for text, value in zip(texts, read, strict=True)]
    assert all(slow) is all_come_back(texts, read)
