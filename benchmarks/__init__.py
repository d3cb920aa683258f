"""Benchmarks that time two or more ways side by side, run as `python -m benchmarks.variety --quick`."""
