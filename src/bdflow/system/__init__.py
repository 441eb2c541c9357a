"""Files, streams, signals, packages: the machine around the pictures."""
