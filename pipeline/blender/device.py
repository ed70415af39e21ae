"""What Cycles computes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import bpy

from pipeline.errors import EyeglassError


@dataclass(frozen=True)
class Machine:
    """Threads of the CPU, Cycles' name for the kind of device ('CPU' or 'GPU'), and how many GPUs
    of that kind there are."""

    threads: int
    device: str
    gpus: int = 0


def select(name: str, threads: int, gpu: int | None = None) -> Machine:
    """Selects a device: 'cpu', a GPU interface such as 'cuda', or 'auto'.

    'auto' takes the first GPU interface that has a device, else the CPU. gpu: the number of the
    one to compute on; None for all of them. Only the CPU gives the same bits every time. Raises
    EyeglassError if `name` has no device here, or none of that number.
    """
    if name == "cpu":
        return Machine(threads, "CPU")
    preferences = bpy.context.preferences.addons["cycles"].preferences
    found = {kind: _devices(preferences, kind) for kind in KINDS}
    kind = next((kind for kind in KINDS if found[kind] and name in (kind, "auto")), None)
    if kind is None:
        if name == "auto":
            return Machine(threads, "CPU")
        here = ", ".join([kind for kind in KINDS if found[kind]] + ["cpu"])
        raise EyeglassError(f"no {name} device here, only {here}; use --device auto or cpu")
    # Asking for one interface after another leaves the last one selected.
    devices = _devices(preferences, kind)
    if gpu is not None and gpu >= len(devices):
        raise EyeglassError(f"no {kind} device number {gpu} here, only {len(devices)}")
    for device in preferences.devices:
        device.use = False
    for number, device in enumerate(devices):
        device.use = gpu is None or number == gpu
    return Machine(threads, "GPU", len(devices))


def refuse_scripts() -> None:
    """Keeps Blender from running scripts that come inside files, whatever its preferences say."""
    bpy.context.preferences.filepaths.use_scripts_auto_execute = False


#: Interfaces of GPUs, the one to prefer first.
KINDS = ("optix", "cuda", "hip", "oneapi", "metal")


def _devices(preferences: bpy.types.AddonPreferences, kind: str) -> list[Any]:
    """The devices of one interface."""
    try:
        preferences.compute_device_type = kind.upper()
    except TypeError:
        return []  # this build of Blender does not know the interface
    preferences.refresh_devices()
    return [device for device in preferences.devices if device.type == kind.upper()]
