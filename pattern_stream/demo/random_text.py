"""The random choices of a demonstration: sentences, ids and moments, all drawn from one seeded generator."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Final

from pattern_stream.demo.languages import LANGUAGES, PLAIN, SHARES
from pattern_stream.format import SNOWFLAKE_EPOCH_MS

START_AT: Final = int(datetime(2025, 3, 3, 7, 30, tzinfo=UTC).timestamp()) * 1_000_000_000
"""When the demonstration's story begins, in nanoseconds since 1970."""

MINUTE: Final = 60 * 1_000_000_000
POOL_SENTENCES: Final = 6_000


class Dice:
    """Everything random in a demonstration. Only this object draws, so a seed gives the same story.

    `language`: the only one that people and models write, by its name in LANGUAGES; None for all in their shares.
    """

    def __init__(self, seed: int, language: str | None = None) -> None:
        self.random = random.Random(seed)
        self._seed, self._only = seed, language
        self._pool = PLAIN.make(self.random, POOL_SENTENCES)
        self._pools: dict[str, list[str]] = {}

    def text(self, sentences: int, language: str | None = None) -> str:
        """So many sentences in a language, in plain English where none is named."""
        if language is None:
            return " ".join(self.random.choices(self._pool, k=sentences))
        return LANGUAGES[language].join(self.random.choices(self._sentences(language), k=sentences))

    def _sentences(self, language: str) -> list[str]:
        """The pool of a language. Its own generator makes it, so that the story does not depend on when."""
        if language not in self._pools:
            own = random.Random(f"{language} {self._seed}")
            self._pools[language] = LANGUAGES[language].make(own, POOL_SENTENCES // len(LANGUAGES))
        return self._pools[language]

    def language(self) -> str:
        """The language of one exchange."""
        return self._only or self.random.choices(tuple(SHARES), tuple(SHARES.values()))[0]

    def lines(self, count: int) -> str:
        """So many lines of a sentence each."""
        return "\n".join(self.random.choices(self._pool, k=count))

    def between(self, least: int, most: int) -> int:
        """A whole number, both ends included."""
        return least + int(self.random.random() * (most - least + 1))

    def chance(self, share: float) -> bool:
        """True in that share of cases."""
        return self.random.random() < share

    def pick(self, *options: str) -> str:
        """One of the options."""
        return options[int(self.random.random() * len(options))]

    def hex(self, bits: int = 128) -> str:
        """An id: hexadecimal digits."""
        return f"{self.random.getrandbits(bits):0{bits // 4}x}"

    def moment(self, minutes: float) -> str:
        """A moment of the story, so many minutes after its start, with a fraction of a second as clocks have it."""
        return moment(START_AT + int(minutes * MINUTE) + int(self.random.random() * 1_000_000_000))


def moment(nanoseconds: int) -> str:
    """RFC 3339 as the original stores it: offset +00:00, a fraction of 0, 3, 6 or 9 digits by value."""
    seconds, fraction = divmod(nanoseconds, 1_000_000_000)
    plain = datetime.fromtimestamp(seconds, UTC).isoformat()[:19]
    return f"{plain}{fraction_text(fraction)}+00:00"


def fraction_text(nanoseconds: int) -> str:
    """The fraction of a second as digits, with its point."""
    if not nanoseconds:
        return ""
    if nanoseconds % 1_000:
        return f".{nanoseconds:09d}"
    return f".{nanoseconds // 1_000:06d}" if nanoseconds % 1_000_000 else f".{nanoseconds // 1_000_000:03d}"


def plain_moment(minutes: float) -> str:
    """The other form of the original, which SQLite's own clock writes."""
    return datetime.fromtimestamp(START_AT // 1_000_000_000 + int(minutes * 60), UTC).strftime("%Y-%m-%d %H:%M:%S")


def snowflake(nanoseconds: int, counter: int) -> int:
    """A position: milliseconds since the snowflake epoch above, a counter within the millisecond below."""
    return (nanoseconds // 1_000_000 - SNOWFLAKE_EPOCH_MS) << 16 | counter
