"""What looks like an id is found in text and in JSON; what only has such digits in it is not."""

from __future__ import annotations

import pytest

from pattern_stream.schema.ids.id_search import IdSearch

HEX = "0123456789abcdef" * 2


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (HEX, [HEX]),
        (f"see mem_{HEX}, and {HEX}.", [f"mem_{HEX}", HEX]),
        (f'{{"a":"msg_{HEX}","b":["arch_{HEX}"]}}', [f"msg_{HEX}", f"arch_{HEX}"]),
        (f'"one\\n{HEX}\\tmem_{HEX}\\\\{HEX}"', [HEX, f"mem_{HEX}", HEX]),
        (f"{HEX}0", []),
        (f"g{HEX}", []),
        (HEX.upper(), []),
        (HEX[:-1], []),
        (f"{HEX[:16]} {HEX[16:]}", []),
        (f"toolu_{HEX} xmem_{HEX}", [HEX, HEX]),
        ("ü" + HEX, [HEX]),
    ],
)
def test_generated_ids(text: str, found: list[str]) -> None:
    """32 digits that no letter or digit touches, with the prefix of their kind where one is there."""
    assert found == [token.decode() for token in IdSearch().find(text.encode())]


def test_odd_ids() -> None:
    """As a word of their own; generated ones are found anyway. What is short or no word may be anything."""
    search = IdSearch(["agent-7", "agent-7-twin", "a.b[c]ddd", "luna", "x" * 257, "\\nagent", HEX])
    text = f"agent-7-twin agent-7, agent-77 luna \\nagent-7 a.b[c]ddd {'x' * 257} {HEX} agent-7"

    assert {b"agent-7", b"agent-7-twin"} == search.names
    assert [HEX, "agent-7-twin", "agent-7", "agent-7", "agent-7"] == [
        token.decode() for token in search.find(text.encode())
    ]
