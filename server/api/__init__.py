"""The HTTP API: routes, what they read and what they answer."""
