"""`altervox voices train`: a voice of one's own from recordings."""
