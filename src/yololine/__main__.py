"""`python -m yololine` is the command `yololine`."""

from __future__ import annotations

from yololine.cli import main

if __name__ == "__main__":
    main()
