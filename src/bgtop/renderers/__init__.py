"""Renderers: each shows pages in its own way and is reached through its entry point."""
