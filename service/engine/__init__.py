"""Scheduling: sentences of concurrent requests take turns to join one running batch, and leave it when done."""
