"""Shared parts of the recipes for the paper's two corpora: manifests, training, and the paper's figures."""
