"""``bgtop demo``: a shop's background jobs, invented, on a real queue with real workers."""
