"""The demo page. It talks to the server over HTTP and imports only constants of `ssvd_asr`."""
