"""Numbers for other systems: one module per protocol, found by their entry points."""
