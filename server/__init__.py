"""Server: adapters in memory, a queue and batches for one model, and the HTTP API."""
