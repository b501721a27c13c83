"""Benchmarks: `altervox bench`."""
