"""An archive as the atproto package reads it: its root and its decoded blocks, pickled to stdout.

Usage: python read.py ARCHIVE
Runs in an environment that has atproto and not this project.
"""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

from atproto import CAR

read = CAR.from_bytes(Path(sys.argv[1]).read_bytes())
sys.stdout.buffer.write(pickle.dumps((str(read.root), [(str(cid), value) for cid, value in read.blocks.items()])))
