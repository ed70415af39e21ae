"""Child processes that load Blender for one request and stream their answers back."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.errors import EyeglassError


def ask(module: str, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The JSON lines that `python -m MODULE FD` writes to FD, as they come.

    The module reads the request, one JSON object, from its standard input. Raises EyeglassError if
    it fails or says nothing.
    """
    read_end, write_end = os.pipe()
    with tempfile.TemporaryDirectory(prefix="eyeglass-") as scratch:
        log = Path(scratch) / "log.txt"
        with log.open("wb") as output:
            child = subprocess.Popen(
                # -P keeps a folder named pipeline where the user stands from being imported.
                [sys.executable, "-P", "-m", module, str(write_end)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=output,
                pass_fds=[write_end],
                env={**os.environ, "TMPDIR": scratch},
                text=True,
                # Ctrl-C is ours to act on.
                start_new_session=True,
            )
        os.close(write_end)
        said = False
        try:
            assert child.stdin is not None
            # A broken pipe is a dead child: its status tells.
            with contextlib.suppress(BrokenPipeError):
                child.stdin.write(json.dumps(request))
            with contextlib.suppress(BrokenPipeError):
                child.stdin.close()
            with os.fdopen(read_end, encoding="utf-8") as answers:
                for line in answers:
                    said = True
                    yield json.loads(line)
        except BaseException:
            child.kill()
            raise
        finally:
            status = child.wait()
        if status != 0 or not said:
            words = log.read_text(encoding="utf-8", errors="replace").split("\n")
            last = next((word.strip() for word in reversed(words) if word.strip()), "no message")
            raise EyeglassError(f"{module} ended with status {status}: {last}")
