"""What an automatic annotation of a mesh says: which four points, and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.geometry import Anchors


@dataclass(frozen=True, eq=False)
class Proposal:
    """Four anchor points for a mesh that nobody has labelled.

    kind: 'head' or 'glasses'. anchors: (3,) float64 each, in the coordinates of the file's scene.
    confidence: 0..1; see `propose` for the least that is acted on. reason: one line for people,
    what the confidence rests on.
    """

    kind: str
    anchors: Anchors
    confidence: float
    reason: str
