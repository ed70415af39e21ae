"""Where the project's own data lies: in the wheel under `pipeline/_data`, else in the checkout."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent


def data_path(relative: str) -> Path:
    """Absolute path of a data file or folder, such as 'assets/eyewear' or 'scenes'."""
    installed = _PACKAGE / "_data" / relative
    return installed if installed.exists() else _PACKAGE.parent / relative
