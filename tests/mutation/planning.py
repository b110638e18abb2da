"""What is changed: the files, and the mutants of each, which `making` makes with the Python that has mutmut."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
PACKAGE: Final = ROOT / "pattern_stream"
MAKING: Final = Path(__file__).with_name("making.py")
FILES: Final = (
    "codec/large_values.py", "codec/car.py", "codec/diagnostic_decoder.py", "codec/cid.py",
    "codec/dagcbor.py", "codec/heads.py", "codec/link.py", "codec/varint.py",
    "stages/chunking.py", "stages/rebuild/records.py", "stages/walk/walker.py",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mutant:
    """A file with one change: the lines of it that were changed, and the whole of it after that."""

    file: str
    function: str
    first_line: int
    last_line: int
    old: str
    new: str
    source: str

    @property
    def path(self) -> str:
        """The file that it stands for."""
        return str(PACKAGE / self.file)

    @property
    def tests(self) -> str:
        """The tests that are to fail: those of its room, for tests mirror rooms."""
        return f"tests/{Path(self.file).parent}"

    @property
    def own_tests(self) -> str:
        """What the names of the tests of its module begin with."""
        return f"{self.tests}/test_{Path(self.file).stem}"

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What it is known by, wherever in its file the function moves to."""
        return self.file, self.function, self.old, self.new

    def __str__(self) -> str:
        return f"{self.file} {self.function}\n  - {self.old}\n  + {self.new}"


def mutants_of(file: str, python: str, folder: Path) -> Iterator[Mutant]:
    """The mutants of a file; they are kept in `folder`, for they take some seconds to make."""
    digest = blake2b((PACKAGE / file).read_bytes() + MAKING.read_bytes(), digest_size=8).hexdigest()
    kept = folder / f"{file.replace('/', '-')}-{digest}.jsonl"
    if not kept.exists():
        run = subprocess.run([python, MAKING, PACKAGE / file], stdout=subprocess.PIPE, check=True)
        folder.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(run.stdout)
    for line in kept.read_text(encoding="utf-8").splitlines():
        made = json.loads(line)
        first, last = made["lines"]
        yield Mutant(file, made["function"], first, last, made["old"], made["new"], made["source"])
