"""Which device Cycles computes on, with the preferences of machines that are not here."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from fakerun import settings_for

from pipeline import generation
from pipeline.blender import device
from pipeline.errors import EyeglassError
from pipeline.generation import Request
from pipeline.jobs import AssetFolders, RunSettings, cores


class Preferences:
    """Cycles' preferences where some interfaces are built in and have so many devices."""

    def __init__(self, **counts: int) -> None:
        self.counts = counts
        self.devices: list[SimpleNamespace] = []
        self._kind = "NONE"

    @property
    def compute_device_type(self) -> str:
        return self._kind

    @compute_device_type.setter
    def compute_device_type(self, kind: str) -> None:
        if kind.lower() not in self.counts:
            raise TypeError(f"enum {kind} not found")
        self._kind = kind

    def refresh_devices(self) -> None:
        names = [self._kind] * self.counts[self._kind.lower()] + ["CPU"]
        self.devices = [SimpleNamespace(type=name, use=True) for name in names]

    def used(self) -> list[str]:
        return [f"{d.type}{n}" for n, d in enumerate(self.devices) if d.use]


@pytest.fixture
def machine(monkeypatch):
    def have(**counts: int) -> Preferences:
        found = Preferences(**counts)
        addons = {"cycles": SimpleNamespace(preferences=found)}
        context = SimpleNamespace(preferences=SimpleNamespace(addons=addons))
        monkeypatch.setattr(device, "bpy", SimpleNamespace(context=context))
        return found

    return have


def test_auto_prefers_the_faster_interface_of_the_same_card(machine):
    found = machine(cuda=2, optix=2, hip=0)
    assert device.select("auto", 4) == device.Machine(4, "GPU", 2)
    assert (found.compute_device_type, found.used()) == ("OPTIX", ["OPTIX0", "OPTIX1"])


def test_a_worker_has_one_gpu_for_itself(machine):
    found = machine(cuda=3, optix=0, hip=1)
    for number in range(3):
        assert device.select("cuda", 4, number) == device.Machine(4, "GPU", 3)
        assert (found.compute_device_type, found.used()) == ("CUDA", [f"CUDA{number}"])
    with pytest.raises(EyeglassError, match="no cuda device number 3 here, only 3"):
        device.select("cuda", 4, 3)


def test_what_is_missing_is_said_with_what_is_there(machine):
    machine(cuda=0, optix=0, hip=1)
    with pytest.raises(EyeglassError, match="no optix device here, only hip, cpu; use --device"):
        device.select("optix", 4)
    machine(cuda=0, optix=0)
    with pytest.raises(EyeglassError, match="no metal device here, only cpu; use --device"):
        device.select("metal", 4)
    assert device.select("auto", 4) == device.Machine(4, "CPU", 0)


def test_there_is_a_worker_for_each_gpu_unless_told_otherwise(monkeypatch, tmp_path):
    def engine(gpus: int, workers: int | None) -> tuple[RunSettings, int]:
        monkeypatch.setattr(generation, "count_gpus", lambda settings: gpus)
        request = Request(
            tmp_path, 100, "smoke", 0, {}, None, AssetFolders(), workers, None, "auto"
        )
        _, settings, number = generation._engine(request, settings_for(tmp_path), 100)
        return settings, number

    def gpus_of(settings: RunSettings, workers: int) -> list[int | None]:
        return [settings.for_worker(n, Path("s"))["gpu"] for n in range(workers)]

    assert gpus_of(*engine(4, None)) == [0, 1, 2, 3]
    assert gpus_of(*engine(2, 5)) == [0, 1, 0, 1, 0]
    settings, workers = engine(0, None)
    assert workers == min(cores(), generation.MOST_WORKERS)
    assert gpus_of(settings, workers) == [None] * workers
