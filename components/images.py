"""The only place that names container images; one image per slice of the environment."""

from yololine import __version__

DATA = f"yololine/data:{__version__}"
"""Sources, datasets, scoring, reports: no torch in it."""
TRAIN = f"yololine/train:{__version__}"
"""Weights, training, export: torch and ultralytics."""
