"""`altervox convert`: files in, files out."""
