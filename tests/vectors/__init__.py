"""Golden files, and archives of every form of the wire that any release ever wrote."""
