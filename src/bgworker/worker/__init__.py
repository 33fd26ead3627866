"""`bgworker run`: a supervisor, a zygote, and children that run task code."""
