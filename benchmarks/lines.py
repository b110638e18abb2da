"""Parts "lines", "scripts" and "small": whole lines beside their peers, each part in one interleaved run.

lines     everything with the demonstration; what targets hang on with databases of the real program too
scripts   the same rows in one language after the other, a quarter of the messages
small     commands with the constellation that most people have: what they take beyond the start of Python
"""

from __future__ import annotations

import sys

from benchmarks import export_lines, import_lines, read_lines
from benchmarks.commands import PROGRAM, pipeline
from benchmarks.contender import Contender, Work
from benchmarks.corpus import DEMO, REAL, Corpus, living, why_no_fixtures
from benchmarks.harness import Figure, Run, Task, interleaved, tasks_of, timed

PARTS = ("lines", "scripts", "small")
SCRIPTS = ("select", "export-null", "insert", "import-missing", "strict", "plain", "verify")
"""By their names among the lines: what is measured in every language."""

SMALL = ("python", "help", "list", "inspect", "verify", "export-file", "import-missing")
SMALL_MESSAGES = 600


def python(_corpus: Corpus) -> Work:
    """`python -c pass`."""
    return lambda: pipeline([sys.executable, "-c", "pass"])


def help_text(_corpus: Corpus) -> Work:
    """`pattern-stream --help`: nothing that is not needed may be imported."""
    return lambda: pipeline([*PROGRAM, "--help"])


def listing(corpus: Corpus) -> Work:
    """`pattern-stream list`."""
    path = corpus.database()
    return lambda: pipeline([*PROGRAM, "list", "-q", "--db", path])


CONTENDERS = (*export_lines.CONTENDERS, *import_lines.CONTENDERS, *read_lines.CONTENDERS)
STARTS = (
    Contender("python", "`python -c pass`", python, often=True),
    Contender("help", "`pattern-stream --help`", help_text, often=True),
    Contender("list", "list", listing, often=True),
)


def named(name: str) -> Contender:
    """The contender of that name."""
    (found,) = (each for each in (*CONTENDERS, *STARTS) if each.name == name)
    return found


def languages() -> tuple[str, ...]:
    """What the demonstration speaks, ASCII first."""
    from pattern_stream.demo.languages import LANGUAGES

    return tuple(LANGUAGES)


def script_corpora(messages: int) -> list[Corpus]:
    """One for each language."""
    return [Corpus(language, max(messages // 4, 1)) for language in languages()]


def child(name: str, corpus: Corpus) -> list[Run]:
    """One run of one contender."""
    return [timed(name, named(name).prepare(corpus))]


def make_corpora(*corpora: Corpus) -> None:
    """All that contenders read, so that none of them makes it on its way."""
    living()
    for corpus in corpora:
        corpus.archive()


def measure(part: str, messages: int, rounds: int) -> tuple[list[Figure], dict[str, str]]:
    """Every line of a part that can run here; and why others cannot."""
    tasks, skipped = planned(part, messages, rounds)
    make_corpora(*{task.corpus: None for task in tasks})
    if part == "lines":
        Corpus(DEMO, messages).archive(portable=True)
        Corpus(DEMO, messages).shuffled()
    return interleaved(tasks, warm_up=True), skipped


def planned(part: str, messages: int, rounds: int) -> tuple[list[Task], dict[str, str]]:
    """The tasks of a part."""
    large, small = Corpus(DEMO, messages), Corpus(DEMO, SMALL_MESSAGES)
    if part == "scripts":
        found = [Task("lines", name, corpus, rounds) for name in SCRIPTS for corpus in script_corpora(messages)]
        return found, {}
    if part == "small":
        return [Task("lines", name, small, 2 * rounds) for name in SMALL] + [
            Task("lines", "inspect", large, rounds)
        ], {}
    tasks, skipped = tasks_of("lines", CONTENDERS, large, rounds)
    if (reason := why_no_fixtures()) is not None:
        return tasks, skipped | {REAL: reason}
    often = [each for each in CONTENDERS if each.often]
    return tasks + tasks_of("lines", often, Corpus(REAL, messages), rounds)[0], skipped
