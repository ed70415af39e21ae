"""What Cycles computes on."""

from __future__ import annotations

from dataclasses import dataclass

import bpy

from pipeline.errors import EyeglassError


@dataclass(frozen=True)
class Machine:
    """Threads of the CPU, and Cycles' name for the kind of device ('CPU' or 'GPU')."""

    threads: int
    device: str


def select(name: str, threads: int) -> Machine:
    """Selects a device: 'cpu', a GPU interface such as 'cuda', or 'auto'.

    'auto' takes the first GPU interface that has a device, else the CPU. Only the CPU gives the
    same bits every time. Raises EyeglassError if `name` has no device here.
    """
    if name == "cpu":
        return Machine(threads, "CPU")
    preferences = bpy.context.preferences.addons["cycles"].preferences
    for kind in ("optix", "cuda", "hip", "oneapi", "metal") if name == "auto" else (name,):
        if _has_device(preferences, kind.upper()):
            return Machine(threads, "GPU")
    if name != "auto":
        raise EyeglassError(f"no {name} device here; use --device auto or --device cpu")
    return Machine(threads, "CPU")


def _has_device(preferences: bpy.types.AddonPreferences, kind: str) -> bool:
    """Enables the devices of one interface; False if there are none."""
    try:
        preferences.compute_device_type = kind
    except TypeError:
        return False  # this build of Blender does not know the interface
    preferences.refresh_devices()
    for device in preferences.devices:
        device.use = device.type == kind
    return any(device.use for device in preferences.devices)
