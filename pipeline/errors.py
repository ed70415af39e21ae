"""Errors a user can meet.

    EyeglassError            anything whose message is meant for the user: one line, exit status 2
    ├── RecipeError          a scene, spec or dataset description that does not validate
    ├── AssetError           a mesh, sidecar, design or light that is missing or unusable
    ├── DatasetError         an output folder that cannot be used, or a dataset that cannot be read
    └── Unsure               an automatic annotation that nobody should trust; exit status 1

A message says what was wrong, where (file and the path in it), and what would be right.
Anything that is not an `EyeglassError` is a fault of the program and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Collection


class EyeglassError(Exception):
    """Base of all errors whose message is for the user."""


class RecipeError(EyeglassError):
    """A recipe, spec or dataset description does not validate."""


class AssetError(EyeglassError):
    """A mesh, anchors sidecar, eyewear design or light is missing or unusable."""


class DatasetError(EyeglassError):
    """An output folder cannot be used, or a dataset cannot be read."""


class Unsure(EyeglassError):
    """A mesh could not be annotated automatically with enough confidence."""


def nearest(name: str, known: Collection[str]) -> str:
    """What was meant by a name that is not among the known ones, or what there is."""
    # Takes a moment to import, and few names are misspelt.
    import difflib

    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean '{close[0]}'?" if close else f"known: {', '.join(known)}"
