"""RMVPE: the mel frames, the network and its recurrent layer."""
