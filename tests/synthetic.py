"""Datasets without a renderer: drawn samples that keep every rule, and copies of samples."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pipeline import store
from pipeline.spec import (
    EXTRA_KEYS,
    CameraSpec,
    GlassesSpec,
    HeadSpec,
    LightSpec,
    RenderSpec,
    SampleSpec,
    WearSpec,
    parse_spec,
)

SHA = "0" * 64
SIZE = 64
DESIGNS = ("aviator", "round", "cat_eye", "rimless")
LIGHTS = ("studio", "city", "forest")
WEARS = ("worn", "worn", "slipped", "askew")
EXTRAS = EXTRA_KEYS


def spec(index: int, size: int = SIZE, denoise: bool = False, extras: bool = False) -> SampleSpec:
    return SampleSpec(
        seed=5,
        index=index,
        attempt=0,
        head=HeadSpec(
            subject=f"person-{7 * index:06d}", sha256=SHA, expression=f"{index % 3 + 1}_some"
        ),
        glasses=GlassesSpec(
            name=DESIGNS[index % 4], sha256=SHA, choice={"power_d": -1.5, "frame": "gold"}
        ),
        nose=index % 4 / 2,
        wear=WearSpec(mode=WEARS[index % 4]),
        camera=CameraSpec(
            focal_mm=50, distance_mm=500, yaw_deg=index % 41 - 20, pitch_deg=2, roll_deg=0
        ),
        light=LightSpec(
            hdri=LIGHTS[index % 3], sha256=SHA, rotation_deg=37 * index % 360, exposure_ev=0.2
        ),
        render=RenderSpec(
            size=size, spp=1, denoise=denoise, seed=0, layers=EXTRAS if extras else ()
        ),
    )


def images(of: SampleSpec) -> dict[str, np.ndarray]:
    """Two lenses in rims, a temple seen through the left one, a shadow below."""
    size, rng = of.render.size, np.random.default_rng(of.index)
    unit = size / 64

    def drawn(*ellipses: tuple[float, float, float, float]) -> np.ndarray:
        mask = np.zeros((size, size), np.uint8)
        for ellipse in ellipses:
            x, y, wide, high = (round(number * unit) for number in ellipse)
            cv2.ellipse(mask, (x, y), (wide, high), 0, 0, 360, 255, -1)
        return mask

    left, right = drawn((42, 30, 8, 6)), drawn((22, 30, 8, 6))
    legs = drawn((44, 30, 3, 1), (55, 28, 4, 1))
    lenses = left | right
    frame = (drawn((42, 30, 10, 8), (22, 30, 10, 8), (32, 29, 3, 2)) & ~lenses) | legs
    full = frame | lenses
    shadow = drawn((32, 46, 16, 5)) & ~full
    face = rng.integers(40, 200, (size, size, 3)).astype(np.uint8)
    dark = np.where(shadow[..., None] > 0, face // 2, face)
    eyewear = rng.integers(0, 255, (size, size, 3)).astype(np.uint8)
    worn = full[..., None] > 0
    found = {
        "all": np.where(worn, eyewear, dark),
        "glass": np.where(worn, eyewear, face),
        "shadow": dark,
        "face": face,
        "mask_frame": frame,
        "mask_lens_left": left,
        "mask_lens_right": right,
        "mask_lenses": lenses,
        "mask_legs": legs,
        "mask_full": full,
        "mask_shadow": shadow,
        # A rim of pixels that are touched, but less than half covered.
        "alpha_full": np.maximum(full, cv2.dilate(full, np.ones((3, 3), np.uint8)) // 5),
        "shadow_matte": np.where(shadow > 0, 32768, 65535).astype(np.uint16),
    }
    if of.render.layers:
        lens = lenses[..., None] > 0
        flow = np.stack([np.full_like(lenses, 0, np.uint16)] * 3, axis=2)
        flow[lenses > 0] = (32768 + 64, 32768 - 128, 1)
        found |= {
            "sunglasses": np.where(lens, 9, found["all"]).astype(np.uint8),
            "no_reflection": np.where(lens, 90, found["all"]).astype(np.uint8),
            "lens_transmittance": np.where(lens, 60000, 65535 * np.ones(3)).astype(np.uint16),
            "refraction_flow": flow,
            "depth": np.where(full > 0, 5004, 0).astype(np.uint16),
            "normal": np.where(worn, (32768, 32768, 65535), 0).astype(np.uint16),
            "parsing_all": np.where(full > 0, 3, 1).astype(np.uint8),
            "parsing_face": np.ones_like(full),
        }
    return found


FIT = {"vertex_distance_mm": 13.5, "pad_gap_left_mm": 0.1, "unit": {"head": "mm", "glasses": "mm"}}


def dataset(root: Path, specs: Iterable[SampleSpec]) -> Path:
    """A whole dataset of drawn samples."""
    records = {}
    for one in specs:
        fit = {**FIT, "vertex_distance_mm": 12.0 + one.index % 5}
        records[one.index] = store.make_record(one, fit, {}, [])
        store.write_sample(root, records[one.index], images(one))
    store.write_index(root, records)
    describe(root, len(records))
    return root


def describe(root: Path, count: int) -> None:
    """A `dataset.yaml` with what reading needs."""
    described = {
        "schema_version": 1,
        "count": count,
        "seed": 5,
        "scene": "drawn",
        "recipe": {},
        "assets": {"heads": None, "glasses": None, "hdri": None},
        "versions": {"eyeglass-pipeline": "0"},
    }
    (root / store.DESCRIPTION).write_text(store.dump_yaml(described))


def copies(source: Path, root: Path, count: int) -> Path:
    """`count` samples made of a dataset's own, each a little further to the right, with new ids.

    What leaves a picture comes in at the other side, so samples differ and keep every rule.
    """
    records: dict[int, dict[str, Any]] = {}
    originals = store.read_index(source)
    for index in range(count):
        turn, which = divmod(index, len(originals))
        original = originals[which]
        changed = copy.deepcopy(original["spec"])
        changed["index"] = index
        record = store.make_record(
            parse_spec(changed, "copy"), original["fit"], original["labels"], original["rejected"]
        )
        moved = {
            key: np.roll(store.read_image(source / path), turn, axis=1)
            for key, path in original["files"].items()
        }
        store.write_sample(root, record, moved)
        records[index] = record
    store.write_index(root, records)
    describe(root, count)
    return root
