"""Bidirectional streams: WebSockets, between a client and a handler's `stream_fn` (BI-1)."""
