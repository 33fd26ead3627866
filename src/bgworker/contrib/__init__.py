"""bgworker inside web frameworks: each part imports its framework when it is used."""
