"""What there is to draw from: heads, eyewear and lights, each with its sha256 and licence.

Built-in persons and designs come from `assets/`, worlds from Blender; a folder of the user's
replaces the kind it is given for. The rest of the program asks a `Catalog` and never a folder.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from pipeline.catalog.data import MESH_SUFFIXES, data_path
from pipeline.catalog.light import SUFFIXES as HDR_SUFFIXES
from pipeline.catalog.light import Light, built_in_lights, check_hdr
from pipeline.catalog.photos import SUFFIXES as PHOTO_SUFFIXES
from pipeline.catalog.photos import Photo, check_photo
from pipeline.catalog.sky import SKY_NAME, SKY_SHA256
from pipeline.errors import AssetError
from pipeline.geometry import Eyewear, Head
from pipeline.spec import GlassesSpec, HeadSpec, LightSpec, SampleSpec, WearMode

OWN_LICENCE = "CC0-1.0"
USER_LICENCE = "the user's own"
BLENDER_LICENCE = "CC0-1.0, with Blender"
NEUTRAL = "1_neutral"
Entry = TypeVar("Entry")
PERSON_NAME = re.compile(r"person-(\d{6,9})")


@dataclass(frozen=True)
class Glasses:
    """A pair of glasses of the catalogue.

    number: its place in the catalogue, from 0. draw: fills what may vary from a generator.
    typical: the same at the middle of every range. looks: typical choices that together show every
    finish. build: eyewear of such a choice.
    """

    name: str
    number: int
    sha256: str
    licence: str
    draw: Callable[[np.random.Generator], Mapping[str, float | str]]
    typical: Callable[[], Mapping[str, float | str]]
    looks: Callable[[], list[dict[str, float | str]]]
    build: Callable[[Mapping[str, float | str]], Eyewear]


@dataclass(frozen=True)
class Persons:
    """The built-in persons, numbered without end."""

    sha256: str
    licence: str = OWN_LICENCE

    def expressions(self) -> tuple[str, ...]:
        from pipeline.catalog.head import EXPRESSIONS

        return tuple(EXPRESSIONS)

    def sha256_of(self, subject: str) -> str:
        """Raises AssetError for a name that is no person's."""
        if PERSON_NAME.fullmatch(subject) is None:
            raise AssetError(f"no built-in person '{subject}'; they are named like 'person-000012'")
        return self.sha256

    def spec(
        self, number: int, expression: str, gaze: tuple[float, float] = (0.0, 0.0)
    ) -> HeadSpec:
        """gaze: yaw and pitch, degrees; see `HeadSpec`."""
        return HeadSpec(
            subject=f"person-{number:06d}",
            sha256=self.sha256,
            expression=expression,
            gaze_yaw_deg=gaze[0],
            gaze_pitch_deg=gaze[1],
        )

    def unwearable(self, number: int) -> frozenset[WearMode]:
        """Ways of wearing glasses that are not for a person, because of hat or mask."""
        return _unwearable(number)

    def load(self, subject: str, expression: str, gaze: tuple[float, float] = (0.0, 0.0)) -> Head:
        """Raises AssetError for a name that is no person's, or an unknown expression."""
        from pipeline.catalog.head import build_head, person

        self.sha256_of(subject)
        return build_head(person(int(subject.removeprefix("person-"))), expression, gaze)


@dataclass(frozen=True)
class UserHeads:
    """Head meshes of a folder, by name; they have one expression and gaze, as scanned."""

    files: Mapping[str, Path]
    hashes: Mapping[str, str]
    licence: str = USER_LICENCE

    def expressions(self) -> tuple[str, ...]:
        return (NEUTRAL,)

    def sha256_of(self, subject: str) -> str:
        """Raises AssetError for an unknown name."""
        if subject not in self.hashes:
            raise AssetError(f"no head '{subject}' among {', '.join(self.files)}")
        return self.hashes[subject]

    def spec(
        self, number: int, expression: str, gaze: tuple[float, float] = (0.0, 0.0)
    ) -> HeadSpec:
        name = list(self.files)[number % len(self.files)]
        return HeadSpec(subject=name, sha256=self.hashes[name], expression=expression)

    def unwearable(self, number: int) -> frozenset[WearMode]:
        return frozenset()

    def load(self, subject: str, expression: str, gaze: tuple[float, float] = (0.0, 0.0)) -> Head:
        """Raises AssetError for an unknown name, an expression, or an unusable mesh."""
        self.sha256_of(subject)
        if expression != NEUTRAL:
            raise AssetError(f"head '{subject}' is a mesh and has no expression but {NEUTRAL}")
        return _load_user_head(self.files[subject])


@dataclass(frozen=True)
class Surroundings:
    """Files around a portrait: of the HDR world, None under a sky; of the photo behind, if any."""

    hdri: Path | None = None
    photo: Path | None = None


@dataclass(frozen=True)
class Catalog:
    """Heads, eyewear, lights and photos for backgrounds, all but the heads sorted by name."""

    heads: Persons | UserHeads
    glasses: Mapping[str, Glasses]
    lights: Mapping[str, Light]
    photos: Mapping[str, Photo] = field(default_factory=dict)

    def head(self, spec: HeadSpec) -> Head:
        """The head of a spec. Raises AssetError if it is absent or has changed."""
        head = self.heads.load(spec.subject, spec.expression, spec.gaze)
        _same(spec.subject, spec.sha256, self.heads.sha256_of(spec.subject))
        return head

    def eyewear(self, spec: GlassesSpec) -> Eyewear:
        """The glasses of a spec. Raises AssetError if they are absent or have changed."""
        entry = _named("glasses", spec.name, self.glasses)
        _same(spec.name, spec.sha256, entry.sha256)
        return entry.build(spec.choice)

    def light(self, spec: LightSpec) -> Light:
        """The HDR world of a spec. Raises AssetError if it is absent or has changed."""
        entry = _named("light", spec.hdri, self.lights)
        _same(spec.hdri, spec.sha256, entry.sha256)
        return entry

    def around(self, spec: SampleSpec) -> Surroundings:
        """The files that light a sample and stand behind it.

        Raises AssetError if one is absent or has changed.
        """
        hdri = photo = None
        if spec.light.sky is None:
            hdri = self.light(spec.light).path
        else:
            _same(SKY_NAME, spec.light.sha256, SKY_SHA256)
        if spec.background.photo is not None:
            entry = _named("photo", spec.background.photo, self.photos)
            _same(entry.name, spec.background.sha256 or "none", entry.sha256)
            photo = entry.path
        return Surroundings(hdri, photo)

    def check(self, spec: SampleSpec) -> None:
        """Raises AssetError if an asset of a spec is absent or has changed; builds none."""
        _same(spec.head.subject, spec.head.sha256, self.heads.sha256_of(spec.head.subject))
        glasses = _named("glasses", spec.glasses.name, self.glasses)
        _same(glasses.name, spec.glasses.sha256, glasses.sha256)
        self.around(spec)

    def listing(self) -> list[tuple[str, str, str]]:
        """(kind, name, licence) of everything, for people to read."""
        if isinstance(self.heads, Persons):
            rows = [("head", "person-000000, person-000001, ...", self.heads.licence)]
        else:
            rows = [("head", name, self.heads.licence) for name in self.heads.files]
        rows += [("expression", name, self.heads.licence) for name in self.heads.expressions()]
        rows += [("glasses", entry.name, entry.licence) for entry in self.glasses.values()]
        rows += [("light", entry.name, entry.licence) for entry in self.lights.values()]
        return rows + [("photo", entry.name, entry.licence) for entry in self.photos.values()]


def open_catalog(
    heads: Path | None = None,
    glasses: Path | None = None,
    hdri: Path | None = None,
    backgrounds: Path | None = None,
) -> Catalog:
    """The built-in catalogue, or the user's folders in place of a kind; photos are the user's only.

    Every mesh and image of the user's is loaded once here, so that what is wrong with one is
    said before anything is rendered. Raises AssetError in one line.
    """
    return Catalog(
        heads=_user_heads(heads) if heads else _persons(),
        glasses=_user_glasses(glasses) if glasses else _designs(),
        lights=_lights(
            _files_in(hdri, HDR_SUFFIXES, "HDR images") if hdri else _by_name(built_in_lights()),
            USER_LICENCE if hdri else BLENDER_LICENCE,
            check=hdri is not None,
        ),
        photos=_photos(backgrounds) if backgrounds else {},
    )


@lru_cache(maxsize=2**13)
def _unwearable(number: int) -> frozenset[WearMode]:
    from pipeline.catalog.person import clothes_of

    return clothes_of(number).unwearable


def _persons() -> Persons:
    """Persons of the data and of the rules by which they are drawn from it."""
    from pipeline.catalog.person import REVISION

    data = _sha256(data_path("assets/heads/hm08.npz"))
    return Persons(hashlib.sha256(f"{data} {REVISION}".encode()).hexdigest())


def _designs() -> dict[str, Glasses]:
    from pipeline.catalog.eyewear import build_eyewear, load_design

    found = {}
    for number, path in enumerate(sorted(data_path("assets/eyewear").glob("*.yaml"))):
        design = load_design(path)
        found[path.stem] = Glasses(
            name=path.stem,
            number=number,
            sha256=_sha256(path),
            licence=OWN_LICENCE,
            draw=design.draw,
            typical=design.typical,
            looks=design.looks,
            build=partial(build_eyewear, design),
        )
    return found


def _user_glasses(folder: Path) -> dict[str, Glasses]:
    found = {}
    for number, (name, path) in enumerate(_files_in(folder, MESH_SUFFIXES, "meshes").items()):
        _load_user_eyewear(path)
        found[name] = Glasses(
            name=name,
            number=number,
            sha256=_mesh_sha256(path),
            licence=USER_LICENCE,
            draw=lambda rng: {},
            typical=dict,
            looks=lambda: [{}],
            build=partial(_build_user_eyewear, path),
        )
    return found


def _build_user_eyewear(path: Path, choice: Mapping[str, float | str]) -> Eyewear:
    if choice:
        raise AssetError(f"{path.name}: a mesh has nothing to choose, but a choice is given")
    return _load_user_eyewear(path)


def _user_heads(folder: Path) -> UserHeads:
    files = _files_in(folder, MESH_SUFFIXES, "meshes")
    for path in files.values():
        _load_user_head(path)
    return UserHeads(files, {name: _mesh_sha256(path) for name, path in files.items()})


def _lights(files: Mapping[str, Path], licence: str, check: bool) -> dict[str, Light]:
    if check:
        for path in files.values():
            check_hdr(path)
    return {name: Light(name, path, _sha256(path), licence) for name, path in files.items()}


def _photos(folder: Path) -> dict[str, Photo]:
    files = _files_in(folder, PHOTO_SUFFIXES, "photos")
    for path in files.values():
        check_photo(path)
    return {name: Photo(name, path, _sha256(path), USER_LICENCE) for name, path in files.items()}


@lru_cache(maxsize=32)
def _load_user_head(path: Path) -> Head:
    from pipeline.catalog.mesh import load_head

    return load_head(path)


@lru_cache(maxsize=8)
def _load_user_eyewear(path: Path) -> Eyewear:
    from pipeline.catalog.mesh import load_eyewear

    return load_eyewear(path)


def _files_in(folder: Path, suffixes: tuple[str, ...], what: str) -> dict[str, Path]:
    if not folder.is_dir():
        raise AssetError(f"{folder}: not a folder; a folder of {what} is expected")
    files = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in suffixes]
    if not files:
        raise AssetError(f"{folder}: holds no {what} ({', '.join(suffixes)})")
    return _by_name(files)


def _by_name(files: list[Path]) -> dict[str, Path]:
    named: dict[str, Path] = {}
    for path in files:
        name = re.sub(r"[^A-Za-z0-9_.-]", "_", path.stem).lstrip("_.-")[:100] or "unnamed"
        if name in named:
            raise AssetError(f"{path}: has the same name as {named[name].name}; rename one of them")
        named[name] = path.absolute()
    return named


def _named(kind: str, name: str, entries: Mapping[str, Entry]) -> Entry:
    if name not in entries:
        raise AssetError(f"no {kind} '{name}' in the catalogue, which has {', '.join(entries)}")
    return entries[name]


def _same(name: str, wanted: str, found: str) -> None:
    if wanted != found:
        raise AssetError(
            f"'{name}' has changed: the spec names sha256 {wanted[:12]}..., "
            f"the catalogue holds {found[:12]}..."
        )


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _mesh_sha256(path: Path) -> str:
    """Hash of a mesh, its sidecar, and the materials, buffers and textures that it names."""
    from pipeline.catalog.meshfile import companions

    digest = hashlib.sha256()
    for file in companions(path):
        digest.update(file.name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()
