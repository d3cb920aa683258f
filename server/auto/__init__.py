"""Automatic domains: what a request may be decoded in, and which of it is like the recording."""
