"""One training run: epochs, steps, checkpoints, processes.

Imports `methods` and what lies below it.
"""
