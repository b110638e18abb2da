"""Invented words for a demonstration: sentences from parts, ids, and moments, all drawn from one seeded generator."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Final

from pattern_stream.format import SNOWFLAKE_EPOCH_MS

START_AT: Final = int(datetime(2025, 3, 3, 7, 30, tzinfo=UTC).timestamp()) * 1_000_000_000
"""When the demonstration's story begins, in nanoseconds since 1970."""

MINUTE: Final = 60 * 1_000_000_000
POOL_SENTENCES: Final = 6_000

_WHO: Final = (
    "the heron by the weir", "Odalys", "our neighbour with the ladder", "the choir", "Bram from the bakery",
    "the tall clerk", "whoever left the umbrella", "the allotment committee", "Ingrid", "my brother's band",
    "the ferry crew", "the woman who tunes pianos", "Tomasz", "the night bus driver", "a very patient librarian",
    "the kids next door", "Señora Ibáñez", "the cartographer", "the repair café", "old Wendell",
)  # fmt: skip
_DID: Final = (
    "promised to mend", "forgot about", "keeps asking after", "drew a map of", "traded two jars of honey for",
    "wrote a short poem on", "measured twice and still misjudged", "rescued", "wants to borrow", "returned",
    "painted over", "put aside", "is quietly proud of", "will collect", "tripped over", "made a list about",
    "lost the receipt for", "took apart", "showed me", "cannot stop talking about",
)  # fmt: skip
_WHAT: Final = (
    "the green rowing boat", "a crate of winter pears", "the stubborn gate hinge", "that letter from Ghent",
    "the clock without hands", "three borrowed chairs", "the spare key to the greenhouse", "a half-knitted scarf",
    "the recipe with the burnt corner", "the lantern we used in October", "an accordion nobody plays",
    "the seed packets", "the crooked shelf", "a box of unlabelled slides", "the minutes of the last meeting",
    "the blue enamel kettle", "a jigsaw of the harbour", "the tax form", "the sourdough called Marguerite", "the 日記",
)  # fmt: skip
_WHEN: Final = (
    "before the rain came", "on the way to the dentist", "while the soup was still warm", "right after breakfast",
    "between two phone calls", "as soon as the shop opens", "for the third time this week", "without saying why",
    "when the light was already going", "during the long meeting", "after a good night's sleep", "at the last minute",
    "because nobody else would", "although it was not their turn", "and it took eleven minutes",
)  # fmt: skip


class Dice:
    """Everything random in a demonstration. Only this object draws, so a seed gives the same story."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self._pool = [self._sentence() for _ in range(POOL_SENTENCES)]

    def _sentence(self) -> str:
        parts = [self.random.choice(words) for words in (_WHO, _DID, _WHAT, _WHEN)]
        text = " ".join(parts) + self.random.choice((".", ".", ".", "!", ", I think.", ", as ever."))
        return text[0].upper() + text[1:]

    def text(self, sentences: int) -> str:
        """So many sentences."""
        return " ".join(self.random.choices(self._pool, k=sentences))

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
