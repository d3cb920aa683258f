"""Side-by-side measurements. Each module is a script: `python -m benchmarks.variety --quick`."""
