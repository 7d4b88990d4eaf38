"""`drive.py PACKAGE.yaml OPTIONS...`: `yololine run`, with a pipeline that is not ours."""

import sys
from pathlib import Path

from yololine.cli import main, pipeline_command

if __name__ == "__main__":
    main(pipeline_command(Path(sys.argv.pop(1))))
