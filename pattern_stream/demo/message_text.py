"""Texts of messages: prose with its emoji, lists, code and addresses; arguments and results of tools."""

from __future__ import annotations

from typing import Any, Final

from pattern_stream.demo.languages import EMOJI
from pattern_stream.demo.random_text import Dice
from pattern_stream.schema.mapping.json_values import write_json

DEEPEST_PLACE: Final = 9

_CODE: Final = {
    "python": """\
def {name}(rows: list[dict[str, float]]) -> float:
    due = [row["due"] for row in rows if row["due"] > 0]
    return sum(due) / len(due) if due else 0.0
""",
    "rust": """\
let {name}: Vec<&str> = line.split('\\t').collect();
assert_eq!({name}.len(), 4, "line {{}}: {{:?}}", number, {name});
""",
    "html": """\
<li class="{name}" data-due="2025-03-01"><a href="/shelf?page=2&amp;q=pears">pears &lt;3</a></li>
""",
    "sh": """\
for file in *.md; do
\tgrep -nE '^#{{1,3}} ' "$file" | sed 's/^/{name}: /' || true
done
""",
    "json": """\
{{"name": "{name}", "retries": 3, "backoff": [0.5, 1.0, 2.5], "paths": ["C:\\\\temp", "/srv/shelf"]}}
""",
}


def asked(dice: Dice, language: str) -> str:
    """What a person asks: short, now and then with an address or an emoji."""
    text = dice.text(dice.between(1, 3), language)
    if dice.chance(0.06):
        text += f" {address(dice)}"
    return f"{text} {emoji(dice, language)}".rstrip() if dice.chance(0.08) else text


def answered(dice: Dice, language: str, least: int, most: int) -> str:
    """What a model writes: so many sentences, and in some answers a list, code, a link or an emoji."""
    text = dice.text(dice.between(least, most), language)
    form = dice.random.random()
    if form < 0.08:
        points = (f"{number}. **{dice.hex(24)}**: {dice.text(1, language)}" for number in range(1, dice.between(3, 5)))
        return "\n".join((text, "", *points))
    if form < 0.13:
        kind = dice.pick(*_CODE)
        return f"{text}\n\n```{kind}\n{_CODE[kind].format(name=f'step_{dice.hex(16)}')}```"
    if form < 0.18:
        return f"{text}\n\n> {dice.text(1, language)}\n\n[{dice.hex(24)}]({address(dice)})"
    return f"{text} {emoji(dice, language)}".rstrip() if form < 0.30 else text


def emoji(dice: Dice, language: str) -> str:
    """One of them; nothing in text that is to be ASCII."""
    return "" if language == "ascii" else dice.pick(*EMOJI)


def address(dice: Dice) -> str:
    """A URL."""
    return f"https://example.org/shelf/{dice.hex(40)}?q=winter%20pears&page={dice.between(1, 30)}#notes"


def arguments(dice: Dice, language: str) -> dict[str, Any]:
    """What a tool is called with."""
    given = {"query": dice.text(1, language), "limit": dice.between(1, 20), "fuzz": dice.between(0, 8) / 8}
    if dice.chance(0.3):
        given["filter"] = {"near": _place(dice), "within_km": dice.random.uniform(0.5, 40), "not": {"tags": ["old"]}}
    return given


def result(dice: Dice, language: str, most: int) -> str:
    """What a tool gives back: up to so many sentences, or JSON, some of it deep."""
    if dice.chance(0.5):
        return dice.text(dice.between(1, most), language)
    hits = [
        {"id": dice.hex(64), "score": dice.random.random(), "text": dice.text(1, language), "tags": ["home", "2025"]}
        for _ in range(dice.between(1, 3))
    ]
    return write_json({"hits": hits, "took_ms": dice.between(1, 4_000) / 16, "place": _place(dice), "next": None})


def _place(dice: Dice) -> dict[str, Any] | None:
    """A place within a place within a place; or none."""
    place: dict[str, Any] | None = None
    for level in range(dice.between(0, DEEPEST_PLACE)):
        at = [round(dice.random.uniform(-60, 70), 5), -0.0 if level else 1e-7]
        place = {"level": level, "at": at, "open": level % 2 == 0, "within": place}
    return place
