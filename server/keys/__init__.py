"""Keys: who may call the server, what each caller may use, and how much of it."""
