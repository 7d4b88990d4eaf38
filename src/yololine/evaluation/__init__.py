"""COCO metrics, confusion, promotion rules."""
