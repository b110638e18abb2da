"""What comes out of the sandbox beside a folded document, and how it is taken from the worker's answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pattern_stream.memory.process import Answer


@dataclass(frozen=True, slots=True)
class Checked:
    """A readable document: whether nothing was ever written to it, its version vector, the text it shows.

    `rendered` is None where the text is too long to hand out.
    """

    empty: bool
    frontier: bytes
    rendered: str | None


@dataclass(frozen=True, slots=True)
class Shown:
    """What a document holds: its values by container name, the text it shows, and its canonical version vector.

    Values and text are empty and None where they are too long to hand out.
    """

    values: dict[str, Any]
    rendered: str | None
    frontier: bytes = b""


@dataclass(frozen=True, slots=True)
class AuthoredRow:
    """An edit, or a checkpoint, as the original stores it. `at` is the index of the step that stored it."""

    at: int
    blob: bytes
    version: bytes
    seq: int = 0
    active: bool = True
    consolidated: int = 0


@dataclass(frozen=True, slots=True)
class Authored:
    """The stored forms of a document that lived through some steps."""

    snapshot: bytes
    frontier: bytes
    last_seq: int
    preview: str
    rows: list[AuthoredRow]
    checkpoints: list[AuthoredRow]


def text_of(answer: Answer) -> str | None:
    """The rendered text of an answer; None where it was not asked for, or too long to be sent."""
    if len(answer.blobs) < 4 or answer.meta.get("shown") is not True:
        return None
    return answer.blobs[2].decode(errors="replace")


def authored_of(answer: Answer) -> Authored:
    """The documents and rows of an answer to `author`."""
    snapshot, frontier, *parts = answer.blobs
    told = [*answer.meta["checkpoints"], *answer.meta["rows"]]
    made = [AuthoredRow(**known, blob=parts[2 * n], version=parts[2 * n + 1]) for n, known in enumerate(told)]
    split = len(answer.meta["checkpoints"])
    return Authored(
        snapshot, frontier, answer.meta["last_seq"], answer.meta["preview"], rows=made[split:], checkpoints=made[:split]
    )
