"""Demo page. It talks to the server over HTTP and imports only `ssvd_asr.errors`."""
