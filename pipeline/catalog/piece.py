"""What mesh files are read into."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.geometry import Surface


@dataclass(frozen=True, eq=False)
class Piece:
    """One mesh of a file: the names of its object and material, its surface and opacity."""

    name: str
    material_name: str
    surface: Surface
    opacity: float = 1.0

    @property
    def transparent(self) -> bool:
        material = self.surface.material
        return self.opacity < 1 or (material is not None and material.transmission > 0)
