"""Accuracy of the streaming stages against their look-ahead, with figures."""
