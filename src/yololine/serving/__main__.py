"""`python -m yololine.serving`: what the predictor's container starts."""

from __future__ import annotations

from yololine.serving.command import main

if __name__ == "__main__":
    main()
