"""HTTP API: the routes, their forms and their replies.

Imports `server.state` and the layers below it.
"""
