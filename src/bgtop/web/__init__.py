"""The web page and the interface for programs: the same pages as the terminal, for browsers."""
