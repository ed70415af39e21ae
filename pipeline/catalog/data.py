"""Where data lies, and which files of the user's are meshes.

The project's own data is in the wheel under `pipeline/_data`, else in the checkout.
"""

from __future__ import annotations

from pathlib import Path

#: Mesh files that are read, lower case.
MESH_SUFFIXES = (".obj", ".ply", ".stl", ".glb", ".gltf")
_PACKAGE = Path(__file__).resolve().parent.parent


def data_path(relative: str) -> Path:
    """Absolute path of a data file or folder, such as 'assets/eyewear' or 'scenes'."""
    installed = _PACKAGE / "_data" / relative
    return installed if installed.exists() else _PACKAGE.parent / relative
