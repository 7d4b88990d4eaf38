"""Versions, the champion, lineage."""
