"""`altervox live`: the command, its view and its keys."""
