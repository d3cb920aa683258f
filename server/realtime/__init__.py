"""Live transcription: what OpenAI's realtime API calls a transcription session, without the WebSocket."""
