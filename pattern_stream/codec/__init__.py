"""Values to bytes and back: varints, CIDs, strict DAG-CBOR, CAR framing. Pure; knows no record type."""
