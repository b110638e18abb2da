"""Part "lines": the whole lines beside their peers, all in one interleaved run."""

from __future__ import annotations

from benchmarks import corpus, export_lines, import_lines, read_lines
from benchmarks.contender import Contender
from benchmarks.harness import Figure, Run, interleaved, tasks_of, timed

CONTENDERS = (*export_lines.CONTENDERS, *import_lines.CONTENDERS, *read_lines.CONTENDERS)


def named(name: str) -> Contender:
    """The contender of that name."""
    (found,) = (each for each in CONTENDERS if each.name == name)
    return found


def child(name: str, messages: int) -> list[Run]:
    """One run of one contender."""
    contender = named(name)
    with import_lines.HELD:
        work = contender.prepare(messages)
        return [timed(name, work, command=contender.command)]


def make_corpora(messages: int) -> None:
    """All that contenders read, so that none of them makes it on its way."""
    for make in (corpus.archive, import_lines.portable, corpus.shuffled):
        make(messages)
    corpus.living()


def measure(messages: int, rounds: int) -> tuple[list[Figure], dict[str, str]]:
    """Every line that can run here; and why others cannot."""
    make_corpora(messages)
    tasks, skipped = tasks_of("lines", CONTENDERS, messages, rounds)
    return interleaved(tasks, warm_up=True), skipped
