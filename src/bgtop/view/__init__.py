"""What we show, as pure functions: a frame and the state of a screen become a page, then lines."""
