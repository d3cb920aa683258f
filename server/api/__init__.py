"""The HTTP API: routes, what they read and what they answer.

Imports `server.state` and what lies below it.
"""
