"""Graphs over the components, and their compilation."""
