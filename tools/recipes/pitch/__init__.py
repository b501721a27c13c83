"""How the pitch network that ships with altervox is made: training speech, training, evaluation, packaging."""
