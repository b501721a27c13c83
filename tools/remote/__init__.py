"""`altervox remote`: control of a running session from a terminal or a script."""
