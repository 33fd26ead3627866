"""Opt-in agents: one line in an application, for what its job system tells nobody.

An agent runs inside the consumers of an application. It imports nothing else of bgtop.
"""
