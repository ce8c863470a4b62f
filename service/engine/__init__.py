"""Scheduling: sentences of concurrent requests wait in one queue and share one decoding batch."""
