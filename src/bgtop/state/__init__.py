"""What we know, as pure functions: samples become a snapshot, counters become rates."""
