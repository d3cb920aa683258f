"""Whisper as a base: transformers' network with our decoder, its tokens, rules, digest and files."""
