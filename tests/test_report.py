"""The page of `eyeglass report`: its numbers against others, and the page in a real browser."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
import synthetic
from chromium import chromium, playwright

from pipeline import store
from pipeline.errors import DatasetError
from pipeline.report import gallery, plots
from pipeline.report.command import write_report
from pipeline.report.figures import Figures
from pipeline.report.gallery import choose
from pipeline.spec import parse_spec

COUNT = 24
#: What a record of somebody else's making can hold.
HOSTILE = "</script><script>window.hostile = 1</script><img src=x onerror='window.hostile = 1'>"
MOST_BYTES = 30_000_000


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report") / "a <b>set</b>"
    synthetic.dataset(folder, [synthetic.spec(index, extras=True) for index in range(COUNT)])
    records = dict(enumerate(store.read_index(folder)))
    records[2]["labels"] = {"note": HOSTILE}
    store.write_index(folder, records)
    return folder


@pytest.fixture(scope="module")
def page(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("page") / "report.html"
    assert write_report(root, out, 2) == f"{COUNT} samples, {COUNT} of them shown: {out}"
    return out


# --- plots


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 10, [0, 2, 4, 6, 8, 10]),
        (-41, 40, [-40, -20, 0, 20, 40]),
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (3.1, 3.6, [3.1, 3.2, 3.3, 3.4, 3.5, 3.6]),
        (1e-4, 3e-4, [1e-4, 1.5e-4, 2e-4, 2.5e-4, 3e-4]),
    ],
)
def test_ticks_are_round_and_inside(low: float, high: float, expected: list[float]):
    assert plots.ticks(low, high) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("value", "span", "unit", "expected"),
    [
        (-12.345, 80, "°", "−12.3°"),
        (0.00004, 5, "mm", "0 mm"),
        (-0.0001, 5, "mm", "0 mm"),
        (12345.6, 90000, "", "12,346"),
        (1.5, 0, "D", "1.5 D"),
        (100, 100, "%", "100%"),
    ],
)
def test_numbers_read_well(value: float, span: float, unit: str, expected: str):
    assert plots.measured(value, span, unit) == expected


def drawn_bars(svg: str) -> list[dict[str, str]]:
    return [part.attrib for part in ElementTree.fromstring(svg).iter("rect") if "bar" in
            part.get("class", "")]  # fmt: skip


def test_heights_of_a_histogram_are_shares():
    values = np.random.default_rng(1).normal(3, 2, 5000)
    svg = plots.histogram(values, "Yaw <&>", "°")
    heights = np.array([float(bar["height"]) for bar in drawn_bars(svg)])
    counts = [n for n in np.histogram(values, 32)[0] if n]
    assert heights / heights.sum() == pytest.approx(np.array(counts) / 5000, abs=1e-3)
    assert f"median {np.median(values):.1f}°" in ElementTree.fromstring(svg).attrib["aria-label"]


def test_widths_of_bars_are_counts():
    svg = plots.bars([("a<b", 30), ("b", 10), ("none", 0)], "Kind")
    widths = [float(bar["width"]) for bar in drawn_bars(svg)]
    assert widths == pytest.approx([widths[0], widths[0] / 3, 0], abs=0.1)
    text = "".join(ElementTree.fromstring(svg).itertext())
    assert "a<b" in text
    assert "75.0%" in text


def test_cells_of_a_heat_map_are_where_samples_are():
    across, up = np.array([0.0, 30.0, 30.0, 30.0]), np.array([0.0, 24.0, 24.0, 24.0])
    once, thrice = drawn_bars(plots.heat_map(across, up, ("Yaw", "Pitch"), "°"))
    assert float(once["x"]) < float(thrice["x"])
    assert float(once["y"]) > float(thrice["y"])
    assert float(once["fill-opacity"]) < float(thrice["fill-opacity"]) == 1


# --- what is counted, and what is shown


def counted(specs: list[Any]) -> Figures:
    figures = Figures()
    for spec in specs:
        figures.add(store.make_record(spec, synthetic.FIT, {}, []), spec, (0.1, 0.02))
    return figures


def test_figures_count_each_sample_once(root: Path):
    records = store.read_index(root)
    figures = counted([parse_spec(record["spec"], "spec") for record in records])
    for trait, key in (("glasses", "glasses"), ("light", "hdri"), ("split", "split")):
        assert figures.counts(trait) == Counter(record[key] for record in records)
    assert figures.column("yaw").tolist() == [r["spec"]["camera"]["yaw_deg"] for r in records]
    assert figures.column("shadow").tolist() == [2.0] * COUNT
    assert set(figures.fits) == {("vertex_distance", "mm"), ("pad_gap", "mm")}


def test_a_trait_that_some_samples_lack_shifts_no_other():
    mesh = synthetic.spec(1)
    mesh = mesh.model_copy(
        update={
            "head": mesh.head.model_copy(update={"subject": "scan"}),
            "glasses": mesh.glasses.model_copy(update={"choice": {}}),
        }
    )
    figures = counted([mesh, synthetic.spec(0), mesh, synthetic.spec(2)])
    assert [len(column) for column in figures.names.values()] == [4] * len(figures.names)
    assert figures.counts("tone").total() == 2
    assert list(figures.names["frame"]) == [-1, 0, -1, 0]
    assert figures.column("power").tolist() == [-1.5, -1.5]
    assert len(choose(figures, 3)) == 3


def test_chosen_samples_show_every_design_light_and_wear():
    # One in a hundred has a design, a light or a way of wearing that no other has.
    specs = [synthetic.spec(0).model_copy(update={"index": i}) for i in range(600)]
    rare = {100: ("glasses", 1), 200: ("light", 2), 300: ("wear", 2)}
    for place, (trait, of) in rare.items():
        specs[place] = specs[place].model_copy(update={trait: getattr(synthetic.spec(of), trait)})
    chosen = choose(counted(specs), 20)
    assert len(set(chosen)) == 20
    assert chosen == sorted(chosen)
    assert set(rare) <= set(chosen)
    assert choose(counted(specs), 20) == chosen


def test_images_stay_below_their_share_even_if_all_is_noise():
    noise = np.random.default_rng(0).integers(0, 256, (320, 320, 3)).astype(np.uint8)
    most = gallery.bytes_each(gallery.MOST_SHOWN, 9)
    assert len(gallery._small(noise, most)) <= most
    assert most * gallery.MOST_SHOWN * 9 * 4 / 3 < 0.9 * MOST_BYTES
    flat = np.full((320, 320, 3), 80, np.uint8)
    shown = cv2.imdecode(np.frombuffer(gallery._small(flat, most), np.uint8), cv2.IMREAD_COLOR)
    assert shown.shape == flat.shape


# --- the page


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


class Visit:
    """The page in a tab, with all that it asks for and complains of."""

    def __init__(self, browser: Any, page: Path, **how: Any) -> None:
        self.tab = browser.new_page(viewport={"width": 1000, "height": 800}, **how)
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.tab.on("request", lambda request: self.requests.append(request.url))
        self.tab.on("console", lambda message: self.complaints.append(message.text))
        self.tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.tab.goto(page.as_uri())

    def ask(self, script: str) -> Any:
        return self.tab.evaluate(script)


@pytest.fixture
def visit(browser: Any, page: Path) -> Iterator[Visit]:
    visit = Visit(browser, page)
    yield visit
    assert visit.complaints == []
    visit.tab.close()


def colours(visit: Visit, selector: str) -> np.ndarray:
    """(h, w, 3) uint8 RGB of an image as the browser has decoded it."""
    shown = visit.ask(
        f"""async () => {{
            const image = document.querySelector({json.dumps(selector)});
            await image.decode();
            const canvas = document.createElement("canvas");
            canvas.width = image.naturalWidth;
            canvas.height = image.naturalHeight;
            const context = canvas.getContext("2d");
            context.drawImage(image, 0, 0);
            return [canvas.height, canvas.width,
                    [...context.getImageData(0, 0, canvas.width, canvas.height).data]];
        }}"""
    )
    height, width, data = shown
    return np.array(data, np.uint8).reshape(height, width, 4)[..., :3]


def assert_shows(visit: Visit, selector: str, root: Path, index: int, layer: str) -> None:
    """The image is that layer of that sample, as far as WebP keeps it, and no other."""
    record = store.read_index(root)[index]
    seen = colours(visit, selector).astype(int)
    errors = {
        key: np.abs(seen - store.read_image(root / record["files"][key])).mean()
        for key in ("all", "glass", "shadow", "face")
    }
    assert min(errors, key=lambda key: errors[key]) == layer, errors


def test_the_page_asks_for_nothing_but_itself(visit: Visit, page: Path, root: Path):
    assert {url for url in visit.requests if not url.startswith("data:")} == {page.as_uri()}
    assert visit.tab.title().startswith(root.name)
    assert visit.tab.locator("h1").inner_text() == root.name
    assert visit.ask("window.hostile") is None
    assert visit.tab.locator(".tiles div", has_text="samples").inner_text() == f"samples\n{COUNT}"


def test_every_plot_has_a_title_a_caption_and_words_for_who_cannot_see(visit: Visit):
    figures = visit.tab.locator("figure").all()
    titles = [figure.locator("h3").inner_text() for figure in figures]
    assert len(titles) == len(set(titles)) > 20
    for wanted in ("Yaw, °", "Light", "Shadow in the picture, %", "Design", "Skin tone", "Age",
                   "Expression", "Wear", "Vertex distance, mm"):  # fmt: skip
        assert wanted in titles
    for figure in figures:
        assert figure.locator("figcaption").inner_text()
        for plot in figure.locator("svg").all():
            assert plot.get_attribute("role") == "img"
            assert plot.get_attribute("aria-label")
    assert visit.ask("document.documentElement.scrollWidth <= innerWidth")


def test_the_gallery_shows_a_layer_at_a_time(visit: Visit, root: Path):
    assert visit.tab.locator(".cards button").count() == COUNT
    assert_shows(visit, ".cards button:nth-child(4) img", root, 3, "all")
    visit.tab.locator(".layers label", has_text="shadow").first.click()
    assert_shows(visit, ".cards button:nth-child(4) img", root, 3, "shadow")
    named = visit.tab.locator(".layers label").all_inner_texts()
    assert named == ["all", "glass", "shadow", "face", "masks", "shadow matte", "sunglasses",
                     "no reflection", "lens transmittance"]  # fmt: skip
    assert not visit.tab.locator(".legend").is_visible()
    visit.tab.locator(".layers label", has_text="masks").click()
    assert visit.tab.locator(".legend").is_visible()


def test_a_click_opens_layers_to_compare_and_the_spec(visit: Visit, root: Path):
    tab, record = visit.tab, store.read_index(root)[2]
    tab.locator(".cards button").nth(2).click()
    assert tab.locator("#viewer-title").inner_text() == "Sample 000002"
    del record["files"]
    assert json.loads(tab.locator("#spec").text_content()) == record
    assert visit.ask("window.hostile") is None
    assert_shows(visit, "#left", root, 2, "all")
    assert_shows(visit, "#right", root, 2, "face")
    tab.select_option("#right-layer", "glass")
    assert_shows(visit, "#right", root, 2, "glass")
    stage = tab.locator(".stage").bounding_box()
    tab.mouse.click(stage["x"] + 0.8 * stage["width"], stage["y"] + 0.5 * stage["height"])
    cut = visit.ask("getComputedStyle(document.getElementById('left')).clipPath")
    assert float(re.fullmatch(r"inset\(0px ([\d.]+)% 0px 0px\)", cut)[1]) == pytest.approx(
        20, abs=1
    )


def test_the_viewer_can_be_used_from_the_keyboard(visit: Visit):
    tab = visit.tab
    tab.locator(".cards button").first.focus()
    tab.keyboard.press("Enter")
    tab.locator("#slide").focus()
    before = visit.ask("document.getElementById('slide').value")
    tab.keyboard.press("ArrowRight")
    assert int(visit.ask("document.getElementById('slide').value")) == int(before) + 1
    tab.locator("#before").press("Enter")
    assert tab.locator("#viewer-title").inner_text() == f"Sample {COUNT - 1:06d}"
    tab.keyboard.press("Escape")
    assert not tab.locator("#viewer").is_visible()
    # The dialog gives the focus back before it tells that it has closed.
    playwright.expect(tab.locator(".cards button").last).to_be_focused()


def test_it_is_dark_where_the_system_is_and_can_be_turned(browser: Any, page: Path):
    visit = Visit(browser, page, color_scheme="dark")

    def lightness() -> float:
        colour = visit.ask("getComputedStyle(document.body).backgroundColor")
        return sum(map(int, re.findall(r"\d+", colour)[:3])) / 765

    assert lightness() < 0.2
    assert visit.tab.locator("#theme").inner_text() == "Light"
    visit.tab.locator("#theme").click()
    assert lightness() > 0.8
    visit.tab.close()


# --- mistakes


def test_a_broken_image_is_named(root: Path, tmp_path: Path):
    own = Path(shutil.copytree(root, tmp_path / "own"))
    file = own / store.read_index(own)[3]["files"]["mask_shadow"]
    file.write_bytes(b"nothing")
    with pytest.raises(DatasetError, match=r"mask_shadow\.png: .*; `eyeglass check` names all"):
        write_report(own, None, 1)
    assert not (own / "report.html").exists()
    file.unlink()
    with pytest.raises(DatasetError, match=r"mask_shadow\.png: .*No such file"):
        write_report(own, None, 1)


def run(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipeline.cli", "report", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_line(root: Path, tmp_path: Path):
    own = Path(shutil.copytree(root, tmp_path / "own"))
    done = run(own)
    assert done.returncode == 0
    assert done.stdout == f"{COUNT} samples, {COUNT} of them shown: {own / 'report.html'}\n"
    assert (own / "report.html").stat().st_size < MOST_BYTES
    for words, message in (
        ([tmp_path], f"Error: {tmp_path}: not a dataset;"),
        (
            [own, "--out", tmp_path / "no" / "x.html"],
            f"Error: {tmp_path / 'no' / 'x.html'}: a file",
        ),
        ([own, "--out", tmp_path], f"Error: {tmp_path}: a file in a folder"),
    ):
        done = run(*words)
        assert done.returncode == 2
        assert done.stderr.startswith(message)
        assert done.stderr.count("\n") == 1


def test_a_dataset_without_samples(tmp_path: Path):
    synthetic.dataset(tmp_path, [])
    with pytest.raises(DatasetError, match="holds no finished samples"):
        write_report(tmp_path, None, 1)
