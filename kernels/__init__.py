"""Numeric kernels on NumPy and numba: errors, pitch, level, SOLA and WORLD. No torch, no files, no devices."""
