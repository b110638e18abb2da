"""All hostile archives."""

from __future__ import annotations

from tests.hostile.case import Case
from tests.hostile.cbor import CBOR
from tests.hostile.documents import DOCUMENTS
from tests.hostile.framing import FRAMING
from tests.hostile.graphs import GRAPHS
from tests.hostile.packed import PACKED

CORPUS: list[Case] = [*FRAMING, *PACKED, *CBOR, *GRAPHS, *DOCUMENTS]
