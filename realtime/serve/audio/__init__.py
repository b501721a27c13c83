"""Audio sessions: remote programs send their microphone and get it back in another voice."""
