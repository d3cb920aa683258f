"""Batches whose rows belong to different domains: stacked cores, the forms of a batch and their cost.

Imports `layer` and what lies below it.
"""
