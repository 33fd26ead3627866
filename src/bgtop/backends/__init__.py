"""The backends that come with bgtop, each reached through its entry point."""
