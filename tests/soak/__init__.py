"""A harness that breaks things: a living writer, kills, faults of the storage. `python -m tests.soak`: all of it."""
