"""Which part of a person each polygon is, in the classes of CelebAMask-HQ.

Lee et al., "MaskGAN: towards diverse and interactive facial image manipulation" (2020); numbers and
order are those of `label_list` in the dataset's `g_mask.py`, background 0. Left and right are the
wearer's.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from pipeline.geometry import WORN, Head, Surface

#: Names by number.
CLASSES = (
    "background", "skin", "nose", "eye_g", "l_eye", "r_eye", "l_brow", "r_brow", "l_ear", "r_ear",
    "mouth", "u_lip", "l_lip", "hair", "hat", "ear_r", "neck_l", "neck", "cloth",
)  # fmt: skip
NUMBER: Mapping[str, int] = {name: number for number, name in enumerate(CLASSES)}
#: Classes that are drawn over the glasses where these can be seen through.
OVER_GLASSES = tuple(NUMBER[name] for name in ("l_eye", "r_eye", "l_brow", "r_brow"))

_SURFACES = {
    "eye_left": "l_eye", "eye_right": "r_eye", "teeth": "mouth", "tongue": "mouth",
    **dict.fromkeys(("cap", "beanie", "cuff", "hat", "ribbon", "headband", "headscarf"), "hat"),
    # What is held or worn before the face is nothing that the classes know.
    **dict.fromkeys(("mask", "loops", "phone", "mug", "microphone", "grip"), "background"),
    "earrings": "ear_r", "necklace": "neck_l", "under_necklace": "neck_l",
}  # fmt: skip
#: On the average head (mm, origin between the eyes): half width of the nose over height, and the
#: lower edge of the jaw, below which there is neck, over z from behind.
_NOSE_Y = (-47.0, -43.0, -36.0, -25.0, -12.0, 2.0)
_NOSE_X = (11.0, 18.5, 18.5, 13.5, 9.0, 6.5)
_NOSE_Z = 8.0
_JAW_Z = (-195.0, -95.0, -70.0, -50.0, -41.0, -31.0, -19.0, 2.5, 16.0)
_JAW_Y = (-62.0, -58.0, -56.0, -60.0, -70.0, -85.0, -95.0, -104.7, -106.0)
#: Skin of the scalp with so much hair that too short to be strands is hair.
_HAIRY = 0.3
#: Height at which the lips meet.
_LIPS_MEET = -67.1


def classes_of(name: str, head: Head) -> NDArray[np.uint8]:
    """(m,) class of each polygon of a head's surface; of a mesh of the user's, by its name."""
    surface = head.surfaces[name]
    if name == "skin" and "rest" in surface.attributes:
        return _skin(surface)
    if name == "eye_rims":
        left = surface.vertices[surface.faces, 0].mean(axis=1) > 0
        return np.where(left, NUMBER["l_eye"], NUMBER["r_eye"]).astype(np.uint8)
    plain = name.removeprefix(WORN)
    found = _SURFACES.get(plain, "cloth" if name.startswith(WORN) else "skin")
    return np.full(len(surface.faces), NUMBER[found], np.uint8)


def classes_of_strands(name: str, head: Head) -> NDArray[np.uint8]:
    """(n,) class of each hair of a kind; beards are the skin or the neck that they grow on."""
    roots = head.hair[name].points[:, 0]
    if name == "brows":
        return np.where(roots[:, 0] > 0, NUMBER["l_brow"], NUMBER["r_brow"]).astype(np.uint8)
    if name != "beard":
        return np.full(len(roots), NUMBER["hair"], np.uint8)
    skin = head.surfaces["skin"]
    middles = skin.vertices[skin.faces].mean(axis=1)
    ground = classes_of("skin", head)[cKDTree(middles).query(roots)[1]]
    return np.where(ground == NUMBER["neck"], ground, NUMBER["skin"]).astype(np.uint8)


def _skin(surface: Surface) -> NDArray[np.uint8]:
    """(m,) of the skin of a parametric head, by its regions; later ones over earlier ones."""
    rest = surface.attributes["rest"].astype(float)[surface.faces].mean(axis=1)
    share = {
        key: surface.attributes[key][surface.faces].mean(axis=1) > 0.5
        for key in ("lips", "brows", "ears", "mouth_inside", "scalp")
    }
    hairy = surface.attributes["undergrowth"][surface.faces].mean(axis=1) > _HAIRY
    x, y, z = rest.T
    left = x > 0
    found = np.full(len(rest), NUMBER["skin"], np.uint8)
    found[y < np.interp(z, _JAW_Z, _JAW_Y)] = NUMBER["neck"]
    found[share["scalp"] & hairy] = NUMBER["hair"]
    ridge = (z > _NOSE_Z) & (y > _NOSE_Y[0]) & (y < _NOSE_Y[-1])
    found[ridge & (np.abs(x) < np.interp(y, _NOSE_Y, _NOSE_X))] = NUMBER["nose"]
    for key, of_left, of_right in (("brows", "l_brow", "r_brow"), ("ears", "l_ear", "r_ear")):
        found[share[key] & left] = NUMBER[of_left]
        found[share[key] & ~left] = NUMBER[of_right]
    found[share["lips"] & (y >= _LIPS_MEET)] = NUMBER["u_lip"]
    found[share["lips"] & (y < _LIPS_MEET)] = NUMBER["l_lip"]
    found[share["mouth_inside"]] = NUMBER["mouth"]
    return found
