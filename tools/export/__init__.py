"""`altervox export`: a voice or the pitch network as a folder of graphs that run without torch."""
