"""`make mutants`: try the tests on every mutant of the files named, all by default; fail on one that none explains."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.mutation.explaining import explanations, malformed, stale, unexplained
from tests.mutation.planning import FILES, Mutant, mutants_of
from tests.mutation.running import SURVIVED, Outcome, try_mutants


def main(arguments: Sequence[str] | None = None) -> int:
    """0 where every survivor is explained and everything explained survives; 1 otherwise."""
    options = _parser().parse_args(arguments)
    files = [file for file in FILES if not options.files or any(_is_named(file, name) for name in options.files)]
    mutants = [mutant for file in files for mutant in mutants_of(file, options.python, options.folder / "plans")]
    last = options.folder / "survived.json"
    if options.again:
        mutants = _those_of(last, mutants)
    results = _Results(len(mutants))
    if code := try_mutants(mutants, results.tell):
        return code
    results.show(files)
    last.write_text(json.dumps([mutant.key for mutant in results.survivors]))
    return _judge(results.survivors, [] if options.again else files)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("files", nargs="*", help="files or rooms, such as car.py or codec; all of them by default")
    parser.add_argument("--again", action="store_true", help="only the mutants that survived the last time")
    parser.add_argument("--python", default=".mutants/python/bin/python", help="where mutmut is installed")
    parser.add_argument("--folder", type=Path, default=Path(".mutants"), help="where mutants are kept")
    return parser


def _those_of(path: Path, mutants: list[Mutant]) -> list[Mutant]:
    keys = {tuple(key) for key in json.loads(path.read_text())}
    return [mutant for mutant in mutants if mutant.key in keys]


def _is_named(file: str, name: str) -> bool:
    path = Path(file)
    return name.rstrip("/") in (file, path.name, path.stem, str(path.parent))


class _Results:
    """What became of the mutants so far."""

    def __init__(self, total: int) -> None:
        self.survivors: list[Mutant] = []
        self._counts: Counter[tuple[str, Outcome]] = Counter()
        self._total = total
        self._began = time.monotonic()

    def tell(self, mutant: Mutant, outcome: Outcome) -> None:
        self._counts[mutant.file, outcome] += 1
        if outcome == SURVIVED:
            self.survivors.append(mutant)
            _print(f"survived: {mutant}")
        if (done := self._counts.total()) % 100 == 0:
            _print(f"{done} of {self._total} after {time.monotonic() - self._began:.0f} s")

    def show(self, files: Sequence[str]) -> None:
        """A line for each file."""
        outcomes = ("killed", "timed out", "survived")
        _print(f"{'':24}{'mutants':>10}" + "".join(f"{outcome:>10}" for outcome in outcomes))
        for file in files:
            counts = [self._counts[file, outcome] for outcome in outcomes]
            _print(f"{file:24}{sum(counts):>10}" + "".join(f"{count:>10}" for count in counts))


def _judge(survivors: Sequence[Mutant], files: Sequence[str]) -> int:
    listed = explanations()
    extra, gone, faults = unexplained(survivors, listed), stale(survivors, listed, files), malformed(listed)
    for fault in faults:
        _print(f"explained.toml: {fault}")
    for mutant in extra:
        _print(f"no test kills, and explained.toml does not have: {mutant}")
    for file, function, old, new in gone:
        _print(f"explained.toml has, but it does not survive: {file} {function}\n  - {old}\n  + {new}")
    _print(f"{len(survivors)} survived: {len(survivors) - len(extra)} explained, {len(extra)} not; {len(gone)} stale")
    return 1 if extra or gone or faults else 0


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
