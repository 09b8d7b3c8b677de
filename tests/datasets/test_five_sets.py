from __future__ import annotations

import hashlib
import io
import json
import re
import stat
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_fewshot_cells.base.errors import DataError
from napari_fewshot_cells.data.image_files import read_labels
from napari_fewshot_cells.datasets import download
from napari_fewshot_cells.datasets.download import fetch_sources
from napari_fewshot_cells.datasets.five_sets import (
    PUBLISHED_SETS,
    SOURCE_NAMES,
    PublishedSet,
    find_sources,
    summarise,
)
from napari_fewshot_cells.datasets.unpack import open_archive

# --- small archives in the official layouts ----------------------------------------------------------------

RNG = np.random.default_rng(0)
GREY8 = RNG.integers(0, 255, (40, 50), dtype=np.uint8)
GREY16 = RNG.integers(100, 4000, (40, 50), dtype=np.uint16)
COLOUR = RNG.integers(0, 255, (40, 50, 3), dtype=np.uint8)
SLICE = RNG.integers(0, 255, (200, 300), dtype=np.uint8)  # a stack of slices is larger than a chunk
BINARY = np.zeros((40, 50), np.uint8)
BINARY[5:20, 5:20] = 255
TOUCHING = np.zeros((40, 50, 4), np.uint8)  # two nuclei that touch, and a third with the first one's value
TOUCHING[5:15, 5:15, 0] = 1
TOUCHING[5:15, 15:25, 0] = 2
TOUCHING[25:35, 5:15, 0] = 1
TOUCHING[..., 2:] = 255  # only the red channel counts


def encoded(pixels: np.ndarray, kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def stack(pages: list[np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.stack(pages), photometric="minisblack")
    return buffer.getvalue()


def official_files() -> dict[str, bytes]:
    b5 = "SIMCEPImages_A01_C1_F1_s01_w1"
    b39 = "IXMtest_A02_s1_w1AB12"
    root = "groundtruth-drosophila-vnc-4a5f/stack1"
    return {
        "B5/BBBC005_v1_images.zip": zipped(
            {
                f"BBBC005_v1_images/{b5}.TIF": encoded(GREY8, "TIFF"),
                "BBBC005_v1_images/SIMCEPImages_A02_C1_F48_s01_w1.TIF": encoded(GREY8, "TIFF"),  # no mask
                f"__MACOSX/BBBC005_v1_images/._{b5}.TIF": b"junk",
            }
        ),
        "B5/BBBC005_v1_ground_truth.zip": zipped(
            {f"BBBC005_v1_ground_truth/{b5}.TIF": encoded(BINARY, "TIFF")}
        ),
        "B39/images.zip": zipped({f"images/{b39}.tif": encoded(GREY16, "TIFF")}),
        "B39/masks.zip": zipped({f"masks/{b39}.png": encoded(TOUCHING, "PNG")}),
        "ssTEM/groundtruth-drosophila-vnc.zip": zipped(
            {
                f"{root}/raw/00.tif": encoded(GREY8, "TIFF"),
                f"{root}/raw/01.tif": encoded(GREY8, "TIFF"),
                f"{root}/mitochondria/00.png": encoded(BINARY, "PNG"),
                f"{root}/mitochondria/01.png": encoded(BINARY, "PNG"),
                f"{root}/membranes/01.png": encoded(BINARY, "PNG"),
                f"{root.replace('stack1', 'stack2')}/raw/01.tif": encoded(GREY8, "TIFF"),
            }
        ),
        "EM/training.tif": stack([SLICE, 255 - SLICE, SLICE // 2]),
        "EM/training_groundtruth.tif": stack([SLICE // 200 * 255, 0 * SLICE, SLICE // 200 * 255]),
        "TNBC/TNBC_NucleiSegmentation.zip": zipped(
            {
                "TNBC_NucleiSegmentation/Slide_01/01_1.png": encoded(COLOUR, "PNG"),
                "TNBC_NucleiSegmentation/GT_01/01_1.png": encoded(TOUCHING[..., 0] * 9, "PNG"),
            }
        ),
    }


# --- a server that can drop a connection and count what it is asked -----------------------------------------


@dataclass
class Server:
    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    drops: dict[str, list[int]] = field(default_factory=dict)  # bytes to send before hanging up, per request
    stalls: dict[str, int] = field(default_factory=dict)  # bytes to send before falling silent
    silent: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)
    busy: dict[str, int] = field(default_factory=dict)  # how many times to answer 503
    ranges: bool = True
    requests: list[tuple[str, str | None]] = field(default_factory=list)  # (path, Range header)
    sent: int = 0

    def published(self, pairs: int | None = None, sha256: str | None = None) -> dict[str, PublishedSet]:
        return {
            name: replace(
                official,
                files=tuple(
                    replace(f, url=f"{self.address}/{name}/{f.filename}", sha256=sha256)
                    for f in official.files
                ),
                official_pairs=pairs,
            )
            for name, official in PUBLISHED_SETS.items()
        }


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server(files=official_files())

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.lstrip("/")
            asked = self.headers.get("Range")
            state.requests.append((path, asked))
            if state.busy.get(path, 0) > 0:
                state.busy[path] -= 1
                self.send_error(503)
                return
            if path not in state.files:
                self.send_error(404)
                return
            data, start = state.files[path], 0
            tag = f'"{hashlib.md5(data).hexdigest()}"'
            if asked and state.ranges and self.headers.get("If-Range", tag) == tag:
                start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
                if start >= len(data):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(data)}")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            else:
                self.send_response(200)
            self.send_header("Content-Length", str(len(data) - start))
            self.send_header("ETag", tag)
            self.end_headers()
            body = data[start:]
            if state.drops.get(path):
                body = body[: state.drops[path].pop(0)]
            if path in state.stalls:
                self.wfile.write(body[: state.stalls[path]])
                state.silent.set()
                state.over.wait(60)
                return
            self.wfile.write(body)
            state.sent += len(body)

        def log_message(self, *args: object) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.address = f"http://127.0.0.1:{httpd.server_port}"
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield state
    state.over.set()
    httpd.shutdown()
    httpd.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "PAUSE", 0.01)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def leftovers(folder: Path) -> list[str]:
    store = folder / ".downloads"
    return sorted(str(f.relative_to(store)) for f in store.rglob("*") if f.is_file())


# --- fetching ----------------------------------------------------------------------------------------------


def test_all_five_sets_from_their_official_layouts(server: Server, tmp_path: Path):
    events = []
    sources = fetch_sources(tmp_path, published=server.published(), report=events.append)

    assert tuple(sources) == tuple(SOURCE_NAMES)
    assert {n: len(s.pairs) for n, s in sources.items()} == {
        "B5": 1,
        "B39": 1,
        "ssTEM": 2,
        "EM": 3,
        "TNBC": 1,
    }

    image, mask = sources["B39"].pairs[0]
    np.testing.assert_array_equal(np.asarray(Image.open(image)), GREY16)
    nuclei = read_labels(mask)
    assert nuclei.max() == 3
    assert nuclei[10, 10] != nuclei[10, 20]  # touching nuclei stay two
    np.testing.assert_array_equal(nuclei > 0, TOUCHING[..., 0] > 0)

    image, mask = sources["TNBC"].pairs[0]
    np.testing.assert_array_equal(np.asarray(Image.open(image)), COLOUR)
    assert read_labels(mask).max() == 3

    (first, _), (second, empty), _ = sources["EM"].pairs
    assert first.stem == "training_001"
    np.testing.assert_array_equal(np.asarray(Image.open(second)), 255 - SLICE)
    assert read_labels(empty).max() == 0

    for name in ("B5", "ssTEM"):
        image, mask = sources[name].pairs[0]
        np.testing.assert_array_equal(np.asarray(Image.open(image)), GREY8)
        np.testing.assert_array_equal(read_labels(mask), BINARY)

    recorded = json.loads((tmp_path / "checksums.json").read_text())
    assert set(recorded) == set(server.files)
    for key, data in server.files.items():
        assert recorded[key]["sha256"] == hashlib.sha256(data).hexdigest()
        assert recorded[key]["bytes"] == len(data)
    assert leftovers(tmp_path) == []
    last = {e.stage: (e.done, e.total) for e in events}
    assert last["training.tif"] == (len(server.files["EM/training.tif"]),) * 2


def test_what_is_there_is_not_fetched_again(server: Server, tmp_path: Path):
    fetch_sources(tmp_path, ["EM"], published=server.published())
    asked = len(server.requests)
    fetch_sources(tmp_path, ["EM", "TNBC"], published=server.published())
    assert [path.split("/")[0] for path, _ in server.requests[asked:]] == ["TNBC"]


def test_dropped_connections_are_continued_where_they_stopped(server: Server, tmp_path: Path):
    key = "EM/training.tif"
    # 8 drops, few in a row
    server.drops[key] = [download.CHUNK + 99, 0, 0, download.CHUNK + 99, 0, 0, 70_000, 0]
    sources = fetch_sources(tmp_path, ["EM"], published=server.published())
    np.testing.assert_array_equal(np.asarray(Image.open(sources["EM"].pairs[0][0])), SLICE)
    asked = [r for path, r in server.requests if path == key]
    assert asked == [None] + [f"bytes={n * download.CHUNK}-" for n in (1, 1, 1, 2, 2, 2, 4, 4)]


def test_a_failed_fetch_is_continued_by_the_next_one(server: Server, tmp_path: Path):
    key = "EM/training.tif"
    server.drops[key] = [40_000] + [0] * 20
    with pytest.raises(DataError, match=r"training.tif.*continues where it stopped"):
        fetch_sources(tmp_path, ["EM"], published=server.published())
    assert not (tmp_path / "EM").exists()
    assert "EM/training.tif.part" in leftovers(tmp_path)
    server.drops.clear()
    server.requests.clear()
    fetch_sources(tmp_path, ["EM"], published=server.published())
    assert server.requests[0] == (key, f"bytes={download.CHUNK}-")
    assert leftovers(tmp_path) == []


def test_a_file_that_changed_in_between_starts_anew(server: Server, tmp_path: Path):
    key = "EM/training.tif"
    server.drops[key] = [40_000] + [0] * 20
    with pytest.raises(DataError):
        fetch_sources(tmp_path, ["EM"], published=server.published())
    server.drops.clear()
    server.files[key] = stack([SLICE // 3, SLICE // 4, SLICE // 5])
    sources = fetch_sources(tmp_path, ["EM"], published=server.published())
    np.testing.assert_array_equal(np.asarray(Image.open(sources["EM"].pairs[0][0])), SLICE // 3)


def test_a_server_without_ranges_starts_anew(server: Server, tmp_path: Path):
    server.ranges = False
    server.drops["EM/training.tif"] = [40_000, 90_000]
    sources = fetch_sources(tmp_path, ["EM"], published=server.published())
    np.testing.assert_array_equal(np.asarray(Image.open(sources["EM"].pairs[0][0])), SLICE)


def test_a_complete_part_of_a_killed_process_is_used(server: Server, tmp_path: Path):
    key = "EM/training.tif"
    server.drops[key] = [40_000] + [0] * 20
    with pytest.raises(DataError):
        fetch_sources(tmp_path, ["EM"], published=server.published())
    server.drops.clear()
    (tmp_path / ".downloads" / (key + ".part")).write_bytes(server.files[key])
    server.sent = 0
    fetch_sources(tmp_path, ["EM"], published=server.published())
    assert server.sent == len(server.files["EM/training_groundtruth.tif"])


def test_a_busy_server_is_asked_again_and_a_missing_file_is_not(server: Server, tmp_path: Path):
    server.busy["EM/training.tif"] = 2
    fetch_sources(tmp_path, ["EM"], published=server.published())
    del server.files["B39/masks.zip"]
    with pytest.raises(DataError, match=r"masks.zip.*404"):
        fetch_sources(tmp_path, ["B39"], published=server.published())
    assert sum(path == "B39/masks.zip" for path, _ in server.requests) == 1
    assert not (tmp_path / "B39").exists()


def test_no_server_is_one_line(tmp_path: Path, server: Server):
    server.address = "http://127.0.0.1:9"
    with pytest.raises(DataError, match="check the network") as caught:
        fetch_sources(tmp_path, ["EM"], published=server.published())
    assert "\n" not in str(caught.value)


def test_the_recorded_checksum_holds_ever_after(server: Server, tmp_path: Path):
    fetch_sources(tmp_path, ["TNBC"], published=server.published())
    (tmp_path / "TNBC").rename(tmp_path / "elsewhere")
    server.files["TNBC/TNBC_NucleiSegmentation.zip"] += b"tampered"
    with pytest.raises(DataError, match="does not match its checksum"):
        fetch_sources(tmp_path, ["TNBC"], published=server.published())
    assert not (tmp_path / "TNBC").exists()
    assert not any("TNBC_Nuclei" in name for name in leftovers(tmp_path))


def test_a_pinned_checksum_holds_at_once(server: Server, tmp_path: Path):
    with pytest.raises(DataError, match="does not match its checksum sha256:0000"):
        fetch_sources(tmp_path, ["TNBC"], published=server.published(sha256="0" * 64))
    right = hashlib.sha256(server.files["TNBC/TNBC_NucleiSegmentation.zip"]).hexdigest()
    assert fetch_sources(tmp_path, ["TNBC"], published=server.published(sha256=right))


def test_nothing_half_made_looks_complete(server: Server, tmp_path: Path):
    with pytest.raises(DataError, match="should hold 4 pairs, but 3"):
        fetch_sources(tmp_path, ["EM"], published=server.published(pairs=4))
    assert not (tmp_path / "EM").exists()
    # The half-made folder of a killed process does not count as a set, and does not block the next fetch.
    half = tmp_path / ".downloads" / "EM.unfinished" / "images"
    half.mkdir(parents=True)
    (half / "stale.png").write_bytes(b"")
    sources = fetch_sources(tmp_path, ["EM"], published=server.published(pairs=3))
    assert [image.stem for image, _ in sources["EM"].pairs] == [f"training_{i:03d}" for i in (1, 2, 3)]


def test_a_killed_process_leaves_what_the_next_one_continues(server: Server, tmp_path: Path):
    key = "EM/training.tif"
    server.stalls[key] = 3 * download.CHUNK
    files = [(f"{server.address}/EM/{n}", n) for n in ("training.tif", "training_groundtruth.tif")]
    code = (
        "from dataclasses import replace\n"
        "from napari_fewshot_cells.datasets.download import *\n"
        f"files = tuple(Download(*f) for f in {files!r})\n"
        "here = replace(PUBLISHED_SETS['EM'], files=files, official_pairs=None)\n"
        f"fetch_sources({str(tmp_path)!r}, ['EM'], published={{'EM': here}})"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    part = tmp_path / ".downloads" / (key + ".part")
    try:
        assert server.silent.wait(60)
        deadline = time.monotonic() + 20
        while not (part.exists() and part.stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait()
    assert not (tmp_path / "EM").exists()
    got = part.stat().st_size
    assert 0 < got <= 3 * download.CHUNK
    server.stalls.clear()
    server.requests.clear()
    sources = fetch_sources(tmp_path, ["EM"], published=server.published())
    assert server.requests[0] == (key, f"bytes={got}-")
    np.testing.assert_array_equal(np.asarray(Image.open(sources["EM"].pairs[0][0])), SLICE)
    assert leftovers(tmp_path) == []


def test_damaged_archives_are_one_line(server: Server, tmp_path: Path):
    whole = server.files["B39/masks.zip"]
    hole = bytearray(whole)
    hole[60:90] = bytes(30)  # inside the compressed data
    unknown = bytearray(whole)
    unknown[whole.index(b"PK\1\2") + 10] = 99  # in the directory: an unknown compression method
    for damage in (b"<html>not found</html>", bytes(hole), bytes(unknown)):
        server.files["B39/masks.zip"] = damage
        folder = tmp_path / hashlib.sha256(damage).hexdigest()[:6]
        with pytest.raises(DataError, match=r"masks.zip|damaged"):
            fetch_sources(folder, ["B39"], published=server.published())
        assert not (folder / "B39").exists()


# --- malicious archives -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("member", "what"),
    [
        ("../../evil.png", "leaves its folder"),
        ("images/../../evil.png", "leaves its folder"),
        ("/etc/evil.png", "absolute path"),
        ("C:/evil.png", "absolute path"),
    ],
)
def test_paths_out_of_an_archive_are_refused(tmp_path: Path, member: str, what: str):
    file = tmp_path / "a.zip"
    file.write_bytes(zipped({"images/good.png": b"", member: b"x"}))
    with pytest.raises(DataError, match=what):
        open_archive(file)


def test_links_and_bombs_in_an_archive_are_refused(tmp_path: Path):
    file = tmp_path / "a.zip"
    link = zipfile.ZipInfo("images/link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(DataError, match="is a link"):
        open_archive(file)
    file.write_bytes(zipped({f"{i}.png": bytes(1000) for i in range(20)}))
    assert open_archive(file, most=20_000).namelist()
    with pytest.raises(DataError, match="unpacks to 20000 bytes"):
        open_archive(file, most=19_999)


# --- sets on disk ------------------------------------------------------------------------------------------


@pytest.fixture
def laid_out(tmp_path: Path) -> Path:
    for name in SOURCE_NAMES:
        for part, pixels in (("images", GREY8), ("masks", BINARY)):
            (tmp_path / name / part).mkdir(parents=True)
            for stem in ("b", "a"):
                Image.fromarray(pixels).save(tmp_path / name / part / f"{stem}.png")
    return tmp_path


def test_pairs_are_found_by_stem(laid_out: Path):
    sources = find_sources(laid_out)
    assert tuple(sources) == tuple(SOURCE_NAMES)
    assert [(i.stem, m.stem) for i, m in sources["EM"].pairs] == [("a", "a"), ("b", "b")]
    assert sources["B39"].licence == "CC0 1.0"
    summary = summarise(sources["EM"])
    assert (summary.image_size, summary.dtype) == ("40×50", "uint8")
    assert summary.median_diameter == pytest.approx(2 * np.sqrt(225 / np.pi))
    assert summary.foreground == pytest.approx(225 / 2000)


def test_what_is_wrong_with_a_folder_is_said(laid_out: Path):
    with pytest.raises(DataError, match=r"no folder '.*nowhere'"):
        find_sources(laid_out / "nowhere")
    with pytest.raises(DataError, match="no source set 'B6'"):
        find_sources(laid_out, ["B6"])
    (laid_out / "EM" / "images" / "b.png").rename(laid_out / "EM" / "images" / "c.png")
    with pytest.raises(DataError, match=r"masks/b.png' has no image"):
        find_sources(laid_out)
    assert tuple(find_sources(laid_out, ["TNBC", "B5"])) == ("B5", "TNBC")  # other sets are not checked
    (laid_out / "B5" / "masks" / "a.png").unlink()
    with pytest.raises(DataError, match=r"images/a.png' has no mask"):
        find_sources(laid_out, ["B5"])
    Image.fromarray(BINARY[:30]).save(laid_out / "TNBC" / "masks" / "a.png")
    with pytest.raises(DataError, match=r"a.png' is 30×50 px but its image is 40×50 px"):
        find_sources(laid_out, ["TNBC"])
    (laid_out / "ssTEM" / "masks").rename(laid_out / "ssTEM" / "elsewhere")
    with pytest.raises(DataError, match="ssTEM is incomplete"):
        find_sources(laid_out, ["ssTEM"])
    (laid_out / "B39" / "images" / "a.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="cannot be read"):
        find_sources(laid_out, ["B39"])


def test_real_sets(source_data: Path):
    sources = find_sources(source_data)
    diameters = {name: summarise(source).median_diameter for name, source in sources.items()}
    for name, expected in {"B5": 33, "B39": 28, "ssTEM": 53, "EM": 57, "TNBC": 18}.items():
        assert diameters[name] == pytest.approx(expected, rel=0.15)
