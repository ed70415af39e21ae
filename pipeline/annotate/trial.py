"""Four points put to the test: a pair of ours on somebody's head, a head of ours behind a pair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from trimesh.registration import procrustes

from pipeline.catalog.anchors import Sidecar, anchor_frame
from pipeline.catalog.catalog import NEUTRAL, open_catalog
from pipeline.catalog.mesh import eyewear_from, head_from
from pipeline.catalog.piece import Piece
from pipeline.errors import AssetError
from pipeline.fit import Fit, fit, posed_parts
from pipeline.geometry import LENS_PARTS, RGB, Anchors, Eyewear, FloatArray, Head, Surface
from pipeline.transforms import apply, compose

DESIGN, PERSON = "rectangle", "person-000003"
_FRAME: RGB = (0.02, 0.05, 0.12)
_LENS: RGB = (0.5, 0.65, 0.8)
_LENS_OPACITY = 0.3
#: Title and name of the figures shown, those of both sides and those of the whole pair.
_SIDES = {
    "temple point": "residual_temple",
    "nose point": "residual_nose",
    "pad gap": "pad_gap",
    "ear gap": "ear_gap",
}
_WHOLE = {
    "in the skin, mm": "penetration_mm",
    "lens to eye, mm": "vertex_distance_mm",
    "tilt, degrees": "pantoscopic_tilt_deg",
}


@dataclass(frozen=True, eq=False)
class Trial:
    """How four points would serve.

    ours: name of our pair or head. surfaces: of it, in the frame of the file, each with colour and
    opacity. placed: the fit, or None where the points alone could be laid on each other.
    reason: '' if worn well, else what is wrong. usable: whether the labelled mesh loads.
    """

    ours: str
    surfaces: Sequence[tuple[Surface, RGB, float]]
    placed: Fit | None
    reason: str
    usable: bool

    def as_markdown(self) -> str:
        """The verdict, and a table of the figures of the fit in mm."""
        what = "" if self.usable else "These points cannot be used: "
        verdict = "not good" if self.reason else "good"
        lines = [f"**Fit with our {self.ours}: {verdict}.** {what}{self.reason}"]
        if self.placed is not None:
            figures = self.placed.figures
            lines += ["", "| mm | left | right |", "|:--|--:|--:|"]
            for title, name in _SIDES.items():
                cells = (f"{figures[f'{name}_{side}_mm']:.1f}" for side in ("left", "right"))
                lines.append(f"| {title} | {' | '.join(cells)} |")
            lines += [f"| {title} | {figures[name]:.1f} | |" for title, name in _WHOLE.items()]
        return "\n".join(lines)


def labelled(path: Path, pieces: Sequence[Piece], sidecar: Sidecar) -> Head | Eyewear:
    """What `load_head` or `load_eyewear` would make of `pieces` of the file with this sidecar.

    Raises AssetError as they do.
    """
    load = head_from if sidecar.kind == "head" else eyewear_from
    return load(path, pieces, sidecar)


def try_on(path: Path, pieces: Sequence[Piece], sidecar: Sidecar) -> Trial:
    """Fits our pair to a labelled head, or a labelled pair to our head.

    pieces: in the frame of the file. Where that fails, ours is laid on the four points alone, with
    a scale, so that it can be seen what is wrong.
    """
    anchors = sidecar.anchors
    ours: Head | Eyewear = reference_pair() if sidecar.kind == "head" else reference_head()
    usable = False
    try:
        theirs = labelled(path, pieces, sidecar)
        usable = True
        mm_from_file = anchor_frame(anchors, path, sidecar.kind).mm_from_file
        if isinstance(theirs, Head):
            assert isinstance(ours, Eyewear)
            placed = fit(theirs, ours, 0.0)
            surfaces = _shown(ours, np.linalg.inv(mm_from_file), placed)
        else:
            assert isinstance(ours, Head)
            placed = fit(ours, theirs, 0.0)
            ours_from_file = compose(placed.world_from_glasses, mm_from_file)
            surfaces = _shown(ours, np.linalg.inv(ours_from_file))
        return Trial(ours.name, surfaces, placed, placed.reason, usable)
    except AssetError as error:
        # Points that coincide have no pose to lay ours in.
        spread = np.ptp(anchors.as_array(), axis=0).any()
        return Trial(ours.name, _laid(ours, anchors) if spread else [], None, str(error), usable)


def _laid(ours: Head | Eyewear, anchors: Anchors) -> list[tuple[Surface, RGB, float]]:
    """Ours, moved, turned and scaled so that its points lie nearest to `anchors`."""
    return _shown(
        ours,
        procrustes(
            ours.anchors.as_array(), anchors.as_array(), reflection=False, return_cost=False
        ),
    )


@lru_cache(maxsize=1)
def reference_pair() -> Eyewear:
    """Our pair that is tried on heads."""
    design = open_catalog().glasses[DESIGN]
    return design.build(design.typical())


@lru_cache(maxsize=1)
def reference_head() -> Head:
    """Our head that pairs are tried on."""
    return open_catalog().heads.load(PERSON, NEUTRAL)


def _shown(
    ours: Head | Eyewear, file_from_ours: FloatArray, placed: Fit | None = None
) -> list[tuple[Surface, RGB, float]]:
    if isinstance(ours, Head):
        skin = ours.appearance.skin if ours.appearance else _LENS
        colours: Mapping[str, RGB] = {"lashes": _FRAME, "eye_left": (0.7, 0.7, 0.7)}
        colours = {**colours, "eye_right": colours["eye_left"]}
        found = [(s, colours.get(n, skin), 1.0) for n, s in ours.surfaces.items()]
    else:
        parts = posed_parts(ours, placed) if placed else ours.parts
        found = [
            (part, _LENS, _LENS_OPACITY) if name in LENS_PARTS else (part, _FRAME, 1.0)
            for name, part in parts.items()
        ]
    return [
        (Surface(apply(file_from_ours, s.vertices), s.faces), rgb, opacity)
        for s, rgb, opacity in found
    ]
