"""How the neural voices that ship with altervox are made: training speech, training, evaluation, packaging."""
