"""The page of `eyeglass annotate`: a mesh to turn and to click at, in a browser on this machine.

viser brings the page and its server. Quick answers are given on the server's event loop, in the
order of the clicks; what takes seconds (fits, proposals, saving) is done by one thread, in turn.
"""

from __future__ import annotations

import contextlib
import html
import io
import queue
import socket
import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import viser

from pipeline.annotate.labelling import Labels, Target, place_in_words
from pipeline.annotate.picture import POINT_COLOURS
from pipeline.annotate.shown import as_glb, looks
from pipeline.annotate.trial import Trial, labelled, try_on
from pipeline.catalog.anchors import (
    KEYS,
    KINDS,
    Sidecar,
    anchor_frame,
    sidecar_path,
    write_sidecar,
)
from pipeline.catalog.piece import Piece
from pipeline.errors import EyeglassError
from pipeline.geometry import FloatArray
from pipeline.transforms import apply

HOST = "127.0.0.1"
#: Where the camera stands at first, in the page's frame: before a mesh 2 across, y up.
CAMERA_POSITION, CAMERA_FOV_RAD = (0.0, 0.0, 5.0), 0.6
_UP = {
    "+y": ((1, 0, 0), (0, 1, 0), (0, 0, 1)), "-y": ((-1, 0, 0), (0, -1, 0), (0, 0, 1)),
    "+z": ((1, 0, 0), (0, 0, 1), (0, -1, 0)), "-z": ((1, 0, 0), (0, 0, -1), (0, 1, 0)),
    "+x": ((0, -1, 0), (1, 0, 0), (0, 0, 1)), "-x": ((0, 1, 0), (-1, 0, 0), (0, 0, 1)),
}  # fmt: skip
#: Radius of a marker, as a share of the distance between the points furthest apart.
_MARKER_SHARE = 0.018


class _Server(viser.ViserServer):
    """viser's server, which hands nothing of this machine on to the outside."""

    def request_share_url(self, verbose: bool = True) -> str | None:
        return None


def listen(port: int | None) -> viser.ViserServer:
    """A server on 127.0.0.1 at `port`, or at a free one. Raises EyeglassError if it is taken."""
    if port is not None:
        with socket.socket() as probe:
            # As the server will: a port whose last connections are still closing is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError as error:
                raise EyeglassError(
                    f"--port {port}: cannot be used ({error.strerror}); give another, or none"
                ) from None
    with contextlib.redirect_stdout(io.StringIO()):
        return _Server(host=HOST, port=port or 0, verbose=False)


class Page:
    """A page on which a user puts four points on a mesh.

    pieces: in the file's frame. kind: one of KINDS or None for not known yet. sidecar: what is
    there already, whose points are shown first. propose: the automatic proposal, of pieces and a
    kind or None. The page is served from construction to `close`.
    """

    def __init__(
        self,
        path: Path,
        pieces: Sequence[Piece],
        kind: str | None,
        sidecar: Sidecar | None,
        propose: Callable[[Sequence[Piece], str | None], Any],
        port: int | None = None,
    ) -> None:
        self._path, self._pieces, self._propose = path, pieces, propose
        self._kind_known = kind is not None
        self._sidecar = sidecar
        self._target = Target(pieces)
        self.labels = Labels()
        self.trial: Trial | None = None
        self._version = 0
        self._closed = False
        self._world_from_local = np.eye(3)
        self._lock = threading.RLock()
        self._finished = threading.Event()
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self.server = listen(port)
        self._show_mesh()
        self._panel(kind or KINDS[0])
        threading.Thread(target=self._work, daemon=True).start()
        if sidecar is not None:
            self.labels = replace(self.labels.replaced(sidecar.anchors), before=None)
        self._adopt(self.labels, upright=True)

    @property
    def address(self) -> str:
        """Where a browser finds the page."""
        return f"http://{HOST}:{self.server.get_port()}"

    def wait(self, seconds: float | None = None) -> bool:
        """Waits until the user has saved and quit; False if `seconds` pass first."""
        return self._finished.wait(seconds)

    def close(self) -> None:
        """Ends the server; what has been clicked and not saved is gone."""
        self._closed = True
        self._jobs.put(None)
        with contextlib.redirect_stdout(io.StringIO()):
            self.server.stop()

    def _show_mesh(self) -> None:
        scene, camera = self.server.scene, self.server.initial_camera
        scene.set_up_direction("+y")
        scene.configure_default_lights(cast_shadow=False)
        camera.position, camera.look_at, camera.up = CAMERA_POSITION, (0, 0, 0), (0, 1, 0)
        camera.fov = CAMERA_FOV_RAD
        self._mesh_frame = scene.add_frame("/mesh", show_axes=False)
        shown = as_glb(looks(self._pieces), self._target.local_from_file)
        scene.add_glb("/mesh/itself", shown)

        self._trial_frame = scene.add_frame("/mesh/fit", show_axes=False)

        @scene.on_click()  # type: ignore[arg-type]
        async def _(event: viser.SceneClickEvent) -> None:
            self._click(event.ray_origin, event.ray_direction)

    def _panel(self, kind: str) -> None:
        gui = self.server.gui
        gui.configure_theme(show_logo=False, show_share_button=False, control_width="large")
        gui.set_panel_label(f"eyeglass annotate {self._path.name}")
        self._next = gui.add_markdown("")
        # viser's types forbid the assignment to `value` that its manual shows.
        self._kind: Any = gui.add_dropdown("This is", KINDS, initial_value=kind)
        self._current: Any = gui.add_dropdown("Next point", KEYS, initial_value=KEYS[0])
        self._up = gui.add_dropdown("Up in the file", tuple(_UP), initial_value="+y")
        self._undo = gui.add_button("Undo")
        self._proposal = gui.add_button("Propose all four")
        self._show = gui.add_checkbox("Show the fit", initial_value=True)
        self._legend = gui.add_html("")
        self._verdict = gui.add_markdown("")
        self._save = gui.add_button("Save")
        self._quit = gui.add_button("Save and quit", color="green")
        self._message = gui.add_markdown("")
        self._answers()

    def _answers(self) -> None:
        """What the controls do. viser awaits coroutines one after another, in order."""

        @self._kind.on_update
        async def _(event: Any) -> None:
            if event.client is not None:
                self._kind_known = True
                self._adopt(self.labels)

        @self._current.on_update
        async def _(event: Any) -> None:
            if event.client is not None:
                self._adopt(self.labels.selected(self._current.value))

        @self._up.on_update
        async def _(event: Any) -> None:
            self._turn(np.array(_UP[self._up.value], dtype=np.float64))

        @self._undo.on_click
        async def _(event: Any) -> None:
            self._adopt(self.labels.undone())

        @self._show.on_update
        async def _(event: Any) -> None:
            self._trial_frame.visible = self._show.value

        @self._proposal.on_click
        async def _(event: Any) -> None:
            self._say("Looking for the four points ...")
            self._jobs.put(self._propose_now)

        for button in (self._save, self._quit):

            @button.on_click
            async def _(event: Any, leave: bool = button is self._quit) -> None:
                sidecar = self._labelled()
                if sidecar is not None:
                    self._say("Saving ...")
                    self._jobs.put(lambda: self._save_now(sidecar, leave))

    def _click(self, origin: Sequence[float], direction: Sequence[float]) -> None:
        local_from_world = self._world_from_local.T
        point = self._target.pick(local_from_world @ origin, local_from_world @ direction)
        if point is None:
            self._say("That was beside the mesh.")
        else:
            self._say("")
            self._adopt(self.labels.placed(point))

    def _adopt(self, labels: Labels, upright: bool = False) -> None:
        """Makes these the labels: shows their markers, and has them tried."""
        with self._lock:
            self._version += 1
            self.labels = labels
            sidecar = self._labelled()
            if upright and sidecar is not None:
                with contextlib.suppress(EyeglassError):
                    frame = anchor_frame(sidecar.anchors, self._path, sidecar.kind)
                    axes = frame.mm_from_file[:3, :3]
                    self._turn(axes / np.cbrt(np.linalg.det(axes)))
            self._show_points()
            for control in (self._save, self._quit):
                control.disabled = sidecar is None
            self._undo.disabled = labels.before is None
            self._current.value = labels.current
            done = "Click again to move" if sidecar else "Click"
            self._next.content = (
                f"**{done} {labels.current}**: {place_in_words(self._kind.value, labels.current)}."
                "\n\nLeft is the wearer's left: on a face that looks at you, on your right. "
                "Drag turns the mesh, the wheel zooms."
            )
            self.trial = None
            if sidecar is None:
                self._show_trial(None)
            else:
                version = self._version
                self._jobs.put(lambda: self._try_now(version, sidecar))

    def _labelled(self) -> Sidecar | None:
        """What would be saved, or None while points are missing."""
        anchors = self.labels.anchors()
        if anchors is None:
            return None
        kept = self._sidecar
        return Sidecar(
            anchors=anchors,
            kind=self._kind.value,
            confidence=None,
            parts=kept.parts if kept else {},
            synthesise_lenses=kept.synthesise_lenses if kept else False,
        )

    def _turn(self, world_from_local: FloatArray) -> None:
        self._world_from_local = world_from_local
        self._mesh_frame.wxyz = viser.transforms.SO3.from_matrix(world_from_local).wxyz

    def _show_points(self) -> None:
        scene = self.server.scene
        local = {k: apply(self._target.local_from_file, p) for k, p in self.labels.points.items()}
        spread = max((float(np.linalg.norm(a - b)) for a in local.values() for b in local.values()),
                     default=0.0)  # fmt: skip
        radius = _MARKER_SHARE * min(spread or 1.0, 1.0)
        for key, colour in zip(KEYS, POINT_COLOURS, strict=False):
            node = f"/mesh/{key}"
            if key in local:
                scene.add_icosphere(node, radius, colour, position=local[key])
            else:
                scene.remove_by_name(node)

        self._legend.content = "".join(
            f'<div style="padding: 0 0.9em; opacity: {1 if key in local else 0.35}">'
            f'<span style="color: rgb{colour}">&#9679;</span> {key}</div>'
            for key, colour in zip(KEYS, POINT_COLOURS, strict=False)
        )

    def _show_trial(self, trial: Trial | None) -> None:
        self._verdict.content = "" if trial is None else html.escape(trial.as_markdown(), False)
        scene, node = self.server.scene, "/mesh/fit/ours"
        if trial is not None and trial.surfaces:
            shown = as_glb(trial.surfaces, self._target.local_from_file)
            scene.add_glb(node, shown)
        else:
            scene.remove_by_name(node)

    def _say(self, text: str) -> None:
        if self._closed:
            return
        self._message.content = html.escape(text, quote=False)

    def _work(self) -> None:
        """The thread that does what takes seconds."""
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except (EyeglassError, OSError) as error:
                self._say(str(error))
            except Exception as error:
                # The page goes on: what is clicked must not be lost over a fault of ours.
                traceback.print_exc()
                self._say(f"A fault of the program: {type(error).__name__}; see the terminal.")

    def _try_now(self, version: int, sidecar: Sidecar) -> None:
        if version != self._version:
            return
        trial = try_on(self._path, self._pieces, sidecar)
        with self._lock:
            if version == self._version and not self._closed:
                self._show_trial(trial)
                self.trial = trial

    def _propose_now(self) -> None:
        found = self._propose(self._pieces, self._kind.value if self._kind_known else None)
        with self._lock:
            self._kind.value = found.kind
            self._adopt(self.labels.replaced(found.anchors), upright=True)
        self._say(f"Proposed a {found.kind}, confidence {found.confidence:.2f}: {found.reason}")

    def _save_now(self, sidecar: Sidecar, leave: bool) -> None:
        assert sidecar.kind is not None
        labelled(self._path, self._pieces, sidecar)
        path = sidecar_path(self._path)
        write_sidecar(path, sidecar.anchors, sidecar.kind)
        self._say(f"Saved {path.name}." + (" You may close this page." if leave else ""))
        if leave:
            self.server.flush()
            self._finished.set()
