"""Runs a campaign in whose process Blender renders."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import NoReturn


def run(main: Callable[[], int]) -> NoReturn:
    """Ends the process with what `main` returns, its figures alone on standard output.

    Blender tells there of every picture it saves, and may crash while the interpreter ends.
    """
    sys.stdout = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
