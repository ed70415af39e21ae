"""The page of a report: sections of plots, a gallery, and everything they need inside."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from typing import Any

import numpy as np

from pipeline.catalog.person import AGE_GROUPS, TONE_STEPS
from pipeline.catalog.pigment import albedo, melanin
from pipeline.contact import MASK_COLORS
from pipeline.pixels import srgb_from_linear, to_uint8
from pipeline.report import plots
from pipeline.report.figures import Figures
from pipeline.spec import SPLITS, WEAR_MODES

#: Nothing is fetched, whatever a dataset's names contain.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
#: Title, unit and explanation of the figures of a fit; others appear under their own names.
_FITS = {
    "vertex_distance": ("Vertex distance", "From lens to cornea."),
    "pantoscopic_tilt": ("Pantoscopic tilt", "How far lower edges of the lenses lean to the face."),
    "opening": ("Opening of the temples", "From the hinge's rest; negative: folded inwards."),
    "pad_gap": ("Gap at the pads", "From pads or bridge to the skin."),
    "ear_gap": ("Gap at the ears", "Temple above or below the root of the ear."),
    "ear_side_gap": ("Gap beside the ears", "Temple beside the root of the ear."),
    "lash_gap": ("Gap at the lashes", "From lens to lashes and eye."),
    "bend": ("Bend of the temples", "Positive: before the ear; negative: behind it."),
    "penetration_front": ("Depth of the front", "Rims, pads and lenses in the skin."),
    "penetration_temple": ("Depth of the temples", "In skin and hair, which give."),
    "residual_nose": ("Residual at the nose", "From the nose anchors to where the pads rest."),
    "residual_temple": ("Residual at the ears", "From the temple anchors to the ear nodes."),
    "roll": ("Roll of the front", "Positive: its left side is higher."),
    "yaw": ("Turn of the front", "Positive: to the wearer's left."),
    "penetration": ("Deepest point", "Of any part in the skin."),
}
#: Traits whose values are counted at the top.
_COUNTED = {
    "subject": "subject",
    "glasses": "design",
    "light": "light",
    "expression": "expression",
}
#: So many names have a bar of their own, at most.
_MOST_ROWS = 40
_UNITS = {"mm": "mm", "deg": "°"}


def page(
    name: str,
    description: Mapping[str, Any],
    figures: Figures,
    layers: Sequence[str],
    shown: Sequence[tuple[Mapping[str, Any], Mapping[str, str]]],
) -> str:
    """HTML of a report.

    name: of the dataset. description: its `dataset.yaml`. layers: that `shown` has images of.
    shown: records with their images, base64 of WebP by layer.
    """
    files = resources.files(__package__)
    drawn = {title: found for title, found in _plots(figures).items() if any(found)}
    sections = "".join(_section(title, found) for title, found in drawn.items())
    return (
        files.joinpath("page.html")
        .read_text(encoding="utf-8")
        .format(
            policy=_POLICY,
            title=escape(name),
            style=files.joinpath("page.css").read_text(encoding="utf-8"),
            script=files.joinpath("page.js").read_text(encoding="utf-8"),
            lead=escape(_lead(description)),
            tiles=_tiles(figures, description),
            links="".join(f'<a href="#{_slug(t)}">{t}</a>' for t in drawn),
            sections=sections,
            choices=_choices(layers),
            masks=_mask_legend(),
            shown=len(shown),
            total=figures.count,
            data=_as_script(
                {"layers": list(layers), "samples": [_sample(*each) for each in shown]}
            ),
            made=escape(_made(description)),
        )
    )


def _plots(f: Figures) -> dict[str, list[str]]:
    """Figures of each section, empty ones left out."""
    return {
        "Pose": [
            _number(f, "yaw", "Yaw", "°", "Positive shows more of the subject's left side."),
            _number(f, "pitch", "Pitch", "°", "Positive looks down from above."),
            _number(f, "roll", "Roll", "°", "Positive turns the picture clockwise."),
            _pose_map(f),
            _number(f, "focal", "Focal length", "mm", "Of a sensor 36 mm wide."),
            _number(f, "distance", "Distance", "cm", "From the face to the camera."),
            _number(f, "gaze_yaw", "Gaze aside", "°", "Of the eyes in the head, to its left."),
            _number(f, "gaze_pitch", "Gaze up", "°", "Of the eyes in the head."),
        ],
        "People": [
            _bars(
                f, "tone", "Skin tone", "Built-in persons; 1 is the lightest.", TONE_STEPS, _skin()
            ),
            _bars(f, "age", "Age", f"Built-in persons. {_ages()}", tuple(AGE_GROUPS)),
            _bars(f, "sex", "Sex", "Built-in persons."),
            _bars(f, "expression", "Expression", "Of the face."),
        ],
        "Eyewear": [
            _bars(f, "glasses", "Design", "Of the catalogue, or the mesh."),
            _bars(f, "wear", "Wear", "How the pair is worn.", WEAR_MODES),
            _bars(f, "frame", "Frame", "Finish of rims and bridge."),
            _bars(f, "lenses", "Lenses", "Tint and coating."),
            _number(f, "nose", "Position on the nose", "", "Each unit is 3 mm further down."),
            _number(f, "power", "Power", "D", "Spherical, of the prescription."),
            _number(f, "eyewear", "Eyewear in the picture", "%", "Share of mask_full."),
        ],
        "Light and shadow": [
            _bars(f, "light", "Light", "HDR world."),
            _number(f, "rotation", "Rotation", "°", "Of the world about the vertical."),
            _number(f, "exposure", "Exposure", "EV", "Pixels are multiplied by two to its power."),
            _number(f, "shadow", "Shadow in the picture", "%", "Share of mask_shadow."),
        ],
        "Fit": [
            *_fits(f),
            _number(f, "rejected", "Attempts rejected", "", "Before the pair fitted."),
        ],
        "Sets": [
            _bars(f, "split", "Split", "A subject is in one of them only.", SPLITS),
            _bars(f, "size", "Size", "Of every image."),
            _bars(f, "rendering", "Rendering", "Samples per pixel."),
        ],
    }


def _number(f: Figures, figure: str, title: str, unit: str, what: str) -> str:
    return _distribution(f.column(figure), title, unit, what)


def _distribution(values: np.ndarray, title: str, unit: str, what: str) -> str:
    if not values.size:
        return ""
    asked = f"{title}, {unit}" if unit else title
    if values.min() == values.max():
        same = f'<p class="same">{plots.measured(float(values[0]), 0.0, unit)}</p>'
        return _figure(same, asked, f"{what} The same in all samples.")
    drawn = plots.histogram(values, title, unit)
    said = plots.spread(values, unit)
    return _figure(drawn, asked, f"{what} {said[0].upper()}{said[1:]}.")


def _fits(f: Figures) -> list[str]:
    order = {name: place for place, name in enumerate(_FITS)}
    found = []
    for name, unit in sorted(f.fits, key=lambda key: (order.get(key[0], len(order)), key)):
        plain = name.replace("_", " ")
        title, what = _FITS.get(name, (plain[0].upper() + plain[1:], ""))
        found.append(_distribution(np.array(f.fits[name, unit]), title, _UNITS[unit], what))
    return found


def _pose_map(f: Figures) -> str:
    yaw, pitch = f.column("yaw"), f.column("pitch")
    if not yaw.size or np.ptp(yaw) == 0 or np.ptp(pitch) == 0:
        return ""
    drawn = plots.heat_map(yaw, pitch, ("Yaw, °", "Pitch, °"), "°")
    return _figure(drawn, "Yaw and pitch together", "The fuller a cell, the more samples.")


def _bars(
    f: Figures,
    trait: str,
    title: str,
    what: str,
    order: Sequence[str] = (),
    swatches: Sequence[str] = (),
) -> str:
    """Bars of a trait: in a given order, all of it, or else the most frequent first."""
    counts = f.counts(trait)
    if not counts:
        return ""
    rows = counts.most_common()
    if order:
        rows = [(name, counts[name]) for name in order]
        rows += [(name, n) for name, n in counts.most_common() if name not in order]
    if len(rows) > _MOST_ROWS:
        others = rows[_MOST_ROWS - 1 :]
        rest = sum(count for _, count in others)
        rows = [*rows[: _MOST_ROWS - 1], (f"{len(others)} others", rest)]
    return _figure(plots.bars(rows, title, swatches), title, f"{what} Samples, and their share.")


def _figure(drawn: str, title: str, caption: str) -> str:
    said = f"<figcaption>{escape(caption)}</figcaption>"
    return f"<figure><h3>{escape(title)}</h3>{drawn}{said}</figure>"


def _section(title: str, figures: Sequence[str]) -> str:
    slug = _slug(title)
    return (
        f'<section id="{slug}" aria-labelledby="{slug}-title"><h2 id="{slug}-title">{title}</h2>'
        f'<div class="plots">{"".join(figures)}</div></section>'
    )


def _tiles(f: Figures, description: Mapping[str, Any]) -> str:
    planned = description.get("count")
    more = f", of {planned:,} planned" if isinstance(planned, int) and planned != f.count else ""
    facts = [
        (f.count, f"samples{more}"),
        *((len(f.counts(trait)), f"{name}s") for trait, name in _COUNTED.items()),
    ]
    return "".join(f"<div><dt>{what}</dt><dd>{count:,}</dd></div>" for count, what in facts)


def _choices(layers: Sequence[str]) -> str:
    return "".join(
        f'<label><input type="radio" name="layer" value="{layer}"'
        f"{' checked' if not place else ''}><span>{layer.replace('_', ' ')}</span></label>"
        for place, layer in enumerate(layers)
    )


def _mask_legend() -> str:
    """What the colours of the painted masks mean."""
    return "".join(
        f'<li><i style="background:{_css(color)}"></i>{key.removeprefix("mask_").replace("_", " ")}'
        for key, color in MASK_COLORS.items()
    )


def _sample(record: Mapping[str, Any], images: Mapping[str, str]) -> dict[str, Any]:
    told = {key: value for key, value in record.items() if key != "files"}
    return {"record": told, "images": dict(images)}


def _lead(description: Mapping[str, Any]) -> str:
    recipe = description.get("recipe")
    about = recipe.get("description") if isinstance(recipe, dict) else None
    scene, seed = description.get("scene"), description.get("seed")
    opening = f"{str(about).rstrip('.')}. " if about else ""
    return f"{opening}Scene {scene}, seed {seed}."


def _made(description: Mapping[str, Any]) -> str:
    versions = description.get("versions")
    named = versions.items() if isinstance(versions, dict) else ()
    return ", ".join(f"{name} {version}" for name, version in named)


def _ages() -> str:
    ends = {name: int(end) for name, end in AGE_GROUPS.items() if np.isfinite(end)}
    return f"Years: {', '.join(f'{name} below {end}' for name, end in ends.items())}."


def _skin() -> list[str]:
    """CSS colours of the ten tones: skin without any undertone, in the middle of each step."""
    count = len(TONE_STEPS)
    skin = np.array([albedo(melanin((step + 0.5) / count)) for step in range(count)], np.float32)
    return [_css(color) for color in to_uint8(srgb_from_linear(skin)).tolist()]


def _css(color: Sequence[int]) -> str:
    return f"rgb({' '.join(map(str, color))})"


def _slug(title: str) -> str:
    return title.lower().replace(" ", "-")


def _as_script(data: Any) -> str:
    """JSON that cannot end the script that it lies in."""
    return json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")
