"""The shared basis: singular factors of each adapted weight, their cache, and fingerprints of them.

Imports `base` and what lies below it.
"""
