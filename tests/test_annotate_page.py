"""The page of `eyeglass annotate` in a real browser: real clicks on real pixels."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from chromium import chromium

from pipeline.annotate.page import HOST, Page
from pipeline.annotate.picture import POINT_COLOURS
from pipeline.annotate.proposal import Proposal
from pipeline.catalog.anchors import KEYS, read_sidecar, sidecar_path, write_sidecar
from pipeline.catalog.head import bare_head, person
from pipeline.catalog.mesh import load_head
from pipeline.catalog.meshfile import read_pieces
from pipeline.errors import EyeglassError, Unsure
from pipeline.fit import fit
from pipeline.geometry import Anchors, Head
from pipeline.transforms import apply, compose, rotation_about

#: Small, because it is drawn without a GPU; the panel covers the right half.
WIDTH, HEIGHT = 700, 500
SECONDS = 180
#: The mesh lies in the file in metres, somewhere else, and looks along -y with z up.
FILE_FROM_MM = compose(
    np.array([[1, 0, 0, 5.0], [0, 1, 0, -3.0], [0, 0, 1, 8.0], [0, 0, 0, 1]]),
    rotation_about((1, 0, 0), 90.0),
    np.diag([1e-3, 1e-3, 1e-3, 1.0]),
)


def wait_until(condition: Callable[[], Any], what: str) -> Any:
    end = time.monotonic() + SECONDS
    while not (found := condition()):
        assert time.monotonic() < end, f"not within {SECONDS} s: {what}"
        threading.Event().wait(0.02)
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def head() -> Head:
    return bare_head(person(3), "1_neutral")


@pytest.fixture
def mesh(tmp_path: Path, head: Head) -> Path:
    """The skin of a person as a PLY in other axes and another unit, without a sidecar."""
    skin = head.surfaces["skin"]
    path = tmp_path / "scan.ply"
    vertices = apply(FILE_FROM_MM, skin.vertices)
    path.write_bytes(trimesh.Trimesh(vertices, skin.triangles(), process=False).export(None, "ply"))
    return path


def labelled(mesh: Path, head: Head) -> Path:
    """Writes the sidecar of the person's own points."""
    write_sidecar(sidecar_path(mesh), moved(head.anchors), "head")
    return mesh


def moved(anchors: Anchors) -> Anchors:
    return Anchors(*apply(FILE_FROM_MM, anchors.as_array()))


class Visit:
    """A browser on a page of ours."""

    def __init__(self, browser: Any, page: Page) -> None:
        self.page = page
        self.tab = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        self.tab.set_default_timeout(1000 * SECONDS)
        self.requests: list[str] = []
        self.tab.on("request", lambda request: self.requests.append(request.url))
        self.tab.on("websocket", lambda socket: self.requests.append(socket.url))
        self.tab.goto(page.address)
        self.tab.wait_for_selector("canvas", timeout=1000 * SECONDS)
        wait_until(page.server.get_clients, "the browser joins")
        (self.client,) = page.server.get_clients().values()

    def look(self, position: np.ndarray, at: np.ndarray) -> None:
        """Moves the camera, and waits until the browser says that it has arrived."""
        camera, there = self.client.camera, threading.Event()
        if np.allclose([*camera.position, *camera.look_at], [*position, *at], atol=1e-4):
            return

        def arrived(seen: Any) -> None:
            if np.allclose([*seen.position, *seen.look_at], [*position, *at], atol=1e-4):
                there.set()

        camera.on_update(arrived)
        camera.position, camera.look_at = position, at
        assert there.wait(SECONDS)

    def pixel(self, world: np.ndarray) -> tuple[float, float]:
        """Where on the screen a point of the page's world lies."""
        camera = self.client.camera
        w, x, y, z = camera.wxyz
        turn = np.array([
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ])  # fmt: skip
        right, down, ahead = (world - camera.position) @ turn
        focal = 0.5 * HEIGHT / np.tan(0.5 * camera.fov)
        return WIDTH / 2 + focal * right / ahead, HEIGHT / 2 + focal * down / ahead

    def world(self, point: np.ndarray) -> np.ndarray:
        """A point of the file in the page's world."""
        local_from_file = self.page._target.local_from_file
        return self.page._world_from_local @ apply(local_from_file, point)

    def click(self, point: np.ndarray, outward: np.ndarray) -> None:
        """Looks at a point of the file from `outward`, a little beside it, and clicks on it."""
        world = self.world(point)
        side = self.page._world_from_local @ outward
        across = np.cross((0, 1, 0), side)
        beside = world + 0.12 * across / np.linalg.norm(across)
        self.look(world + 1.2 * side / np.linalg.norm(side), beside)
        before = self.page.labels
        self.tab.mouse.click(*self.pixel(world))
        wait_until(lambda: self.page.labels is not before, "the click arrives")

    def press(self, name: str) -> None:
        self.tab.get_by_role("button", name=name, exact=True).click()

    def reads(self, text: str) -> None:
        self.tab.get_by_text(text).first.wait_for(timeout=1000 * SECONDS)

    def seen(self) -> np.ndarray:
        """What the browser draws, (HEIGHT, WIDTH, 3), without the panel."""
        drawn = self.client.get_render(HEIGHT, WIDTH, transport_format="png", timeout=SECONDS)
        return drawn[..., :3].astype(int)


def never(pieces: Any, kind: str | None) -> Proposal:
    raise Unsure("nothing found")


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Visit]]:
    opened: list[Visit] = []

    def open_page(mesh: Path, kind: str | None = "head", propose: Any = never) -> Visit:
        sidecar = sidecar_path(mesh)
        kept = read_sidecar(sidecar) if sidecar.exists() else None
        opened.append(Visit(browser, Page(mesh, read_pieces(mesh), kind, kept, propose)))
        return opened[-1]

    yield open_page
    for one in opened:
        one.tab.close()
        one.page.close()


def outwards(key: str) -> np.ndarray:
    """From where a point of a head is well seen, in the axes of the file."""
    x = 1.0 if key.endswith("left") else -1.0
    return FILE_FROM_MM[:3, :3] @ np.array([x, 0.35, 0.3] if "temple" in key else [x, 0.1, 2.0])


def test_four_clicks_make_the_sidecar(visit: Any, mesh: Path, head: Head) -> None:
    """Points clicked from four sides arrive where they were aimed at, are tried, and are saved."""
    seen = visit(mesh)
    skin = trimesh.Trimesh(head.surfaces["skin"].vertices, head.surfaces["skin"].triangles())
    aims = skin.nearest.on_surface(head.anchors.as_array())[0]
    for key, aim in zip(KEYS, aims, strict=True):
        seen.reads(f"Click {key}")
        seen.click(apply(FILE_FROM_MM, aim), outwards(key))
        found = seen.page.labels.points[key]
        # A pixel is 1 mm of a head seen from this near; skin may lie aslant to the view.
        assert np.linalg.norm(found - apply(FILE_FROM_MM, aim)) < 1.5e-3
        back = np.linalg.inv(FILE_FROM_MM)
        assert skin.nearest.on_surface(apply(back, found)[None])[1][0] < 1e-3
    trial = wait_until(lambda: seen.page.trial, "the points are tried")
    seen.reads("Fit with our rectangle")
    seen.press("Save")
    seen.reads(f"Saved {sidecar_path(mesh).name}.")
    saved = read_sidecar(sidecar_path(mesh))
    assert saved.kind == "head"
    assert saved.confidence is None
    for key in KEYS:
        assert np.array_equal(getattr(saved.anchors, key), seen.page.labels.points[key])
    from pipeline.annotate.trial import reference_pair

    again = fit(load_head(mesh), reference_pair(), 0.0)
    assert trial.placed.figures == pytest.approx(again.figures, abs=1e-6)
    # The page needs nothing but the server on this machine.
    own = (f"http://{HOST}:", f"ws://{HOST}:", "blob:", "data:")
    assert len(seen.requests) >= 2
    assert [url for url in seen.requests if not url.startswith(own)] == []


def test_points_can_be_moved_undone_and_chosen(visit: Any, mesh: Path, head: Head) -> None:
    """The points of a sidecar are shown first, upright; one is moved, put back, and marked."""
    seen = visit(labelled(mesh, head), kind=None)
    first = seen.page.labels
    for key in KEYS:
        assert np.array_equal(first.points[key], getattr(moved(head.anchors), key))
    seen.reads("Click again to move temple_left")
    left, right = (seen.world(first.points[f"temple_{side}"]) for side in ("left", "right"))
    assert (left - right)[0] > 0
    assert (left - right)[1:] == pytest.approx([0, 0], abs=1e-6)

    aim = first.points["temple_left"] + FILE_FROM_MM[:3, :3] @ np.array([0.0, 8, 12])
    seen.click(aim, outwards("temple_left"))
    assert np.linalg.norm(seen.page.labels.points["temple_left"] - aim) < 4e-3
    assert seen.page.labels.points["nose_left"] is first.points["nose_left"]
    seen.press("Undo")
    wait_until(
        lambda: all(seen.page.labels.points[k] is p for k, p in first.points.items()),
        "the point is back",
    )
    pixel = seen.pixel(seen.world(first.points["temple_left"]))
    column, row = (round(n) for n in pixel)
    assert POINT_COLOURS[0] == (30, 110, 255)
    wait_until(lambda: seen.seen()[row, column] @ (-1, 0, 1) > 60, "the marker is seen")

    seen.tab.get_by_role("combobox", name="Next point").click()
    seen.tab.get_by_role("option", name="nose_right").click()
    seen.reads("Click again to move nose_right")
    assert seen.page.labels.current == "nose_right"


def test_dragging_places_nothing_and_a_miss_is_told(visit: Any, mesh: Path, head: Head) -> None:
    """Also: a proposal is taken over, or its doubts are told."""
    found = Proposal("head", moved(head.anchors), 0.9, "found by a test")
    answers: list[Any] = [Unsure("a cube, not a head"), found]

    def propose(pieces: Any, kind: str | None) -> Proposal:
        assert kind is None
        answer = answers.pop(0)
        if isinstance(answer, Unsure):
            raise answer
        return answer

    seen = visit(mesh, None, propose)
    before, camera = seen.page.labels, seen.client.camera
    start = camera.position.copy()
    mouse = seen.tab.mouse
    mouse.move(200, 300)
    mouse.down()
    mouse.move(260, 320, steps=4)
    mouse.up()
    wait_until(lambda: np.linalg.norm(camera.position - start) > 0.1, "the view turns")
    mouse.click(30, HEIGHT - 30)
    seen.reads("That was beside the mesh.")
    assert seen.page.labels is before
    seen.press("Propose all four")
    seen.reads("a cube, not a head")
    assert seen.page.labels is before
    seen.press("Propose all four")
    seen.reads("Proposed a head, confidence 0.90: found by a test")
    assert seen.page.labels.anchors() is not None
    assert wait_until(lambda: seen.page.trial, "the points are tried").usable


def command(mesh: Path, *options: str) -> tuple[subprocess.Popen[str], str]:
    """`eyeglass annotate` without a browser of its own, and the address that it prints."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", "annotate", str(mesh), "--no-browser", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert f"http://{HOST}:" in line, process.communicate()[1]
    return process, line.split()[-1]


def test_save_and_quit_ends_the_command(browser: Any, mesh: Path, head: Head) -> None:
    process, address = command(labelled(mesh, head))
    before = sidecar_path(mesh).read_text()
    try:
        tab = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        tab.goto(address)
        tab.get_by_role("button", name="Save and quit").click(timeout=1000 * SECONDS)
        out, err = process.communicate(timeout=SECONDS)
        tab.close()
    finally:
        process.kill()
    assert (process.returncode, err) == (0, "")
    assert str(sidecar_path(mesh)) in out
    assert sidecar_path(mesh).read_text() == before


def test_an_interrupt_writes_nothing(mesh: Path) -> None:
    process, _ = command(mesh)
    try:
        process.send_signal(signal.SIGINT)
        err = process.communicate(timeout=SECONDS)[1]
    finally:
        process.kill()
    assert process.returncode == 130
    assert len(err.splitlines()) == 1
    assert not sidecar_path(mesh).exists()


def test_a_port_in_use_is_an_error(mesh: Path) -> None:
    pieces = read_pieces(mesh)
    first = Page(mesh, pieces, "head", None, never)
    try:
        port = first.server.get_port()
        with pytest.raises(EyeglassError, match=f"--port {port}: cannot be used"):
            Page(mesh, pieces, "head", None, never, port)
    finally:
        first.close()
