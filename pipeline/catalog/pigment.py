"""Colour of skin from what light meets in it: melanin above, blood below.

Light passes the epidermis, which only absorbs, is scattered back by the dermis, which is taken as
a half-space, and passes the epidermis again. Optical coefficients are those of Jacques, "Skin
optics" (Oregon Medical Laser Center News, 1998) and "Optical properties of biological tissues: a
review" (Phys. Med. Biol. 58, 2013); the two kinds of melanin as in Donner and Jensen, "A spectral
BSSRDF for shading human skin" (EGSR 2006). Reflectances become albedos in linear Rec. 709 under
D65, a perfect white being 1, 1, 1.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry import RGB, FloatArray

_NM = np.arange(400.0, 701.0, 10.0)
#: Molar extinction of haemoglobin with and without oxygen (cm-1/M) at `_NM`, as Prahl (1999)
#: compiled it.
_OXYGENATED = (
    266232, 466840, 480360, 246072, 102580, 62816, 44480, 33209, 26629, 23684, 20933, 20035, 24202,
    39957, 53236, 43016, 32613, 44496, 50104, 14401, 3200, 1506, 942, 610, 442, 368, 320, 294, 278,
    276, 290,
)  # fmt: skip
_DEOXYGENATED = (
    223296, 303956, 407560, 528600, 413280, 103292, 23389, 16156, 14550, 16684, 20862, 25774, 31590,
    39036, 46592, 53412, 53788, 45072, 37020, 28324, 14677, 9444, 6510, 5149, 4345, 3750, 3227,
    2795, 2408, 2052, 1794,
)  # fmt: skip
#: Relative power of CIE D65 at `_NM`.
_D65 = (
    82.75, 91.49, 93.43, 86.68, 104.86, 117.01, 117.81, 114.86, 115.92, 108.81, 109.35, 107.80,
    104.79, 107.69, 104.41, 104.05, 100.00, 96.33, 95.79, 88.69, 90.01, 89.60, 87.70, 83.29, 83.70,
    80.03, 80.21, 82.28, 78.28, 69.72, 71.61,
)  # fmt: skip
_HAEMOGLOBIN_G_L, _HAEMOGLOBIN_G_MOL = 150.0, 64500.0
_EPIDERMIS_CM = 0.006
#: Shape of the gamma distribution of melanin over places.
_CLUMPS = 2.5
#: Internal reflection of diffuse light at an index of 1.4 (Egan and Hilgeman's fit, in Jensen et
#: al. 2001).
_INTERNAL = (1.0 + 0.529) / (1.0 - 0.529)
#: Share of the epidermis that melanosomes take, in the lightest and in the darkest skin: Jacques
#: 1998 has 1.3 to 43 %.
_LEAST_MELANIN, _MOST_MELANIN = 0.013, 0.43
#: What the horny layer scatters back before light meets melanin.
_CORNEUM = 0.018
_FROM_XYZ = np.array(
    [[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]]
)


def melanin(tone: float) -> float:
    """Share of melanosomes in the epidermis of a tone, 0 the lightest .. 1 the darkest."""
    return float(_LEAST_MELANIN * (_MOST_MELANIN / _LEAST_MELANIN) ** tone)


def albedo(
    melanosomes: float,
    blood: float = 0.01,
    oxygen: float = 0.75,
    pheomelanin: float = 0.15,
    carotene: float = 0.0,
) -> RGB:
    """What skin scatters back, by colour.

    melanosomes: their share of the epidermis; pheomelanin: the yellowish kind's share of melanin.
    blood: its share of the dermis (0.002 to 0.05); oxygen: its saturation. carotene: 0..1, from
    none to a diet rich in it.
    """
    mel, base, oxy, deoxy, yellow = _spectra()
    kinds = (1.0 - pheomelanin) * mel[0] + pheomelanin * mel[1]
    epidermis = melanosomes * kinds + (1.0 - melanosomes) * base + 6.0 * carotene * yellow
    dermis = blood * (oxygen * oxy + (1.0 - oxygen) * deoxy)
    dermis += (1.0 - blood) * base + 0.6 * carotene * yellow
    scattering = 46.0 * (_NM / 500.0) ** -1.421
    loss = np.sqrt(3.0 * dermis / (dermis + scattering))
    back = 0.5 * scattering / (dermis + scattering) * np.exp(-loss)
    back *= 1.0 + np.exp(-4.0 / 3.0 * _INTERNAL * loss)
    # Diffuse light goes twice the thickness each way. Melanosomes lie in clumps, between which
    # light slips through: their density is taken as gamma distributed.
    passes = 4.0 * _EPIDERMIS_CM * epidermis
    back *= (1.0 + passes / _CLUMPS) ** -_CLUMPS
    red, green, blue = _rgb_weights() @ (_CORNEUM + (1.0 - _CORNEUM) * back)
    return float(red), float(green), float(blue)


def lightness(color: RGB) -> float:
    """CIE L*, 0..100, of a linear Rec. 709 colour."""
    luminance = float(np.dot(color, (0.2126, 0.7152, 0.0722)))
    if luminance < 0.008856:
        return 903.3 * luminance
    return float(116.0 * np.cbrt(luminance) - 16.0)


@cache
def _spectra() -> tuple[tuple[FloatArray, FloatArray], FloatArray, FloatArray, FloatArray, NDArray]:
    """Absorption (cm-1) at `_NM`: eu- and pheomelanin, skin without either pigment, blood with and
    without oxygen, and carotene's band between 420 and 500 nm at a height of 1."""
    eumelanin, pheomelanin = 6.6e11 * _NM**-3.33, 2.9e15 * _NM**-4.75
    base = 0.244 + 85.3 * np.exp(-(_NM - 154.0) / 66.2)
    per_molar = np.log(10.0) * _HAEMOGLOBIN_G_L / _HAEMOGLOBIN_G_MOL
    oxy, deoxy = (per_molar * np.array(e) for e in (_OXYGENATED, _DEOXYGENATED))
    carotene = np.exp(-0.5 * ((_NM - 460.0) / 28.0) ** 2)
    return (eumelanin, pheomelanin), base, oxy, deoxy, carotene


@cache
def _rgb_weights() -> FloatArray:
    """(3, wavelengths) that turn a reflectance into linear Rec. 709.

    Colour matching functions by the lobes of Wyman, Sloan and Shirley (JCGT 2013).
    """

    def lobe(middle: float, below: float, above: float) -> FloatArray:
        wide = np.where(middle > _NM, below, above)
        return np.exp(-0.5 * ((_NM - middle) * wide) ** 2)

    x = 1.056 * lobe(599.8, 0.0264, 0.0323) + 0.362 * lobe(442.0, 0.0624, 0.0374)
    x -= 0.065 * lobe(501.1, 0.0490, 0.0382)
    y = 0.821 * lobe(568.8, 0.0213, 0.0247) + 0.286 * lobe(530.9, 0.0613, 0.0322)
    z = 1.217 * lobe(437.0, 0.0845, 0.0278) + 0.681 * lobe(459.0, 0.0385, 0.0725)
    weights = _FROM_XYZ @ (np.stack([x, y, z]) * _D65)
    return weights / weights.sum(axis=1, keepdims=True)
