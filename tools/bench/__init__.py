"""Benchmarks: the modules are `altervox bench`, the folders run from a clone (docs/benchmarks.md)."""
