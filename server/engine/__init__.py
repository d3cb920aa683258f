"""Engine: the queue, the batches and the one thread that runs the model.

Imports `bank`, `server.domains` and the layers below them.
"""
