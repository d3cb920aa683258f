"""The server: adapters in memory, a queue and batches around one model, and the HTTP API around them."""
