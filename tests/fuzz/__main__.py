"""Look for bytes that break a target, guided by the branches that they take. Needs atheris, which runs on Linux.

    python -m tests.fuzz TARGET [ARGUMENT ...]      arguments of libFuzzer: -max_total_time=300, -runs=20000, ...
    python -m tests.fuzz all [ARGUMENT ...]         every target in turn, each in a process of its own

What is found on the way is kept in a folder that goes when the run ends; bytes that break something stay, in the
working folder, as crash-*. To keep the best of a run: `-merge=1 tests/fuzz/corpus/TARGET FOLDER`.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

CORPUS = Path(__file__).with_name("corpus")
LONGEST = {"framing": 600, "dagcbor": 400, "archive": 64, "container": 5000}
"""Bytes of an input: longer ones show nothing that shorter ones do not, and slow everything down."""


def main(arguments: list[str]) -> None:
    """Run one target, or all."""
    target, options = (arguments[0], arguments[1:]) if arguments else ("all", [])
    if target != "all":
        _fuzz(target, options)
    for name in LONGEST if target == "all" else ():
        sys.stdout.write(f"== fuzz: {name}\n")
        sys.stdout.flush()
        subprocess.run([sys.executable, "-m", "tests.fuzz", name, *options], check=True)


def _fuzz(target: str, options: list[str]) -> None:
    import atheris

    with atheris.instrument_imports(include=["pattern_stream"]):
        from tests.fuzz.targets import TARGETS

    folders = [option for option in options if not option.startswith("-")]
    with tempfile.TemporaryDirectory(prefix="pattern-stream-fuzz-") as found:
        kept = CORPUS / target
        line = [*([] if folders else [found, str(kept)]), f"-max_len={LONGEST[target]}", "-timeout=20", *options]
        atheris.Setup([sys.argv[0], *line], TARGETS[target])
        atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
