"""One run of one contender, in a process of its own. Usage: python -m benchmarks.child PART NAME CORPUS MESSAGES

Prints the runs as one line of JSON, last.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from importlib import import_module

from benchmarks.corpus import Corpus, trust


def main(part: str, name: str, corpus: str, messages: str) -> None:
    """Hand over to the part. What it reads was made before."""
    trust()
    runs = import_module(f"benchmarks.{part}").child(name, Corpus(corpus, int(messages)))
    print(json.dumps([asdict(run) for run in runs]))


if __name__ == "__main__":
    main(*sys.argv[1:])
