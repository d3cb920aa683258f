"""Corpora of real people's speech that come as Debian packages: what their recipes share."""
