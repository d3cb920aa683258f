"""Settings by what they are of, and how they are named and written. server/settings.py puts them together."""
