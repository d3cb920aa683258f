"""One linear layer that can follow any domain, and its training step.

Imports `basis` and what lies below it.
"""
