"""Fetch the five source sets from their official addresses: resumable, verified, all or nothing.

A fetch writes ``<set>/{images,masks}/NAME.png`` for each set. It records the SHA-256 of each file's first
download in ``checksums.json``; later downloads must match. A complete set's folder appears by one rename, so
that a killed fetch never leaves a folder that looks complete. Unfinished downloads stay under ``.downloads``,
and the next fetch continues them.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..base.errors import DataError
from ..base.progress import Progress
from ..base.version import __version__
from .five_sets import (
    PUBLISHED_SETS,
    SOURCE_NAMES,
    Download,
    PublishedSet,
    SourceSet,
    check_names,
    find_sources,
)
from .unpack import write_pairs

if TYPE_CHECKING:
    import requests

CHECKSUMS = "checksums.json"
DOWNLOADS = ".downloads"
CHUNK = 32 * 1024  # bytes; at most this much is lost when a connection drops
ATTEMPTS = 5
PAUSE = 0.5  # s before the second attempt; doubles with each further attempt

Report = Callable[[Progress], None]


def fetch_sources(
    folder: Path,
    names: Iterable[str] = SOURCE_NAMES,
    *,
    published: Mapping[str, PublishedSet] = PUBLISHED_SETS,
    report: Report | None = None,
    keep_archives: bool = False,
) -> dict[str, SourceSet]:
    """Fetch those of the named source sets that are not in `folder` yet.

    Parameters
    ----------
    folder
        Folder for the sets; created if missing.
    names
        Names of the sets.
    published
        Records with the addresses; by default the official ones. A mirror or a test passes others.
    report
        Called with the progress of each file, in bytes; `total` is 0 if the server does not give the size. It
        is a callback and not a generator, because pooch calls the downloader.
    keep_archives
        Keep the downloads after their set is laid out.

    Returns
    -------
    dict of name to SourceSet.

    Raises
    ------
    DataError
        A download fails after several attempts, does not match its checksum, is damaged or unsafe, or its
        number of images differs from the official set's. Or pooch is not installed.
    """
    wanted = check_names(names)
    folder = Path(folder)
    try:
        for name in wanted:
            if not (folder / name).exists():
                _fetch_source(folder, name, published[name], report, keep_archives)
    except OSError as error:  # full disk, no permission; no folder that looks complete is left
        raise DataError(f"The source sets cannot be written to '{folder}': {error}.") from error
    return find_sources(folder, wanted)


def _fetch_source(
    folder: Path, name: str, facts: PublishedSet, report: Report | None, keep_archives: bool
) -> None:
    store = folder / DOWNLOADS / name
    store.mkdir(parents=True, exist_ok=True)
    files = [_fetch_file(folder, f"{name}/{part.filename}", part, store, report) for part in facts.files]
    draft = folder / DOWNLOADS / f"{name}.unfinished"
    shutil.rmtree(draft, ignore_errors=True)  # left by a fetch that was killed here
    try:
        count = write_pairs(name, facts.unpack(files), draft)
        if facts.official_pairs is not None and count != facts.official_pairs:
            raise DataError(
                f"The set {name} should hold {facts.official_pairs} pairs, but {count} were fetched; "
                "fetch it again."
            )
        os.replace(draft, folder / name)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    if not keep_archives:
        shutil.rmtree(store, ignore_errors=True)


def _fetch_file(folder: Path, key: str, part: Download, store: Path, report: Report | None) -> Path:
    try:
        import pooch
    except ImportError as error:
        raise DataError("Fetching needs pooch: pip install 'napari-fewshot-cells[train]'.") from error
    recorded = _recorded(folder)
    known = part.sha256 or recorded.get(key, {}).get("sha256")
    pooch.get_logger().setLevel("WARNING")  # its messages would break the progress bars
    keeper = pooch.create(
        path=store,
        base_url="",
        registry={part.filename: f"sha256:{known}" if known else None},
        urls={part.filename: part.url},
    )
    try:
        file = Path(keeper.fetch(part.filename, downloader=ResumingDownloader(part.filename, report)))
    except DataError:
        raise
    except ValueError as error:  # pooch raises this if a checksum does not match
        raise DataError(
            f"'{part.filename}' from {part.url} does not match its checksum sha256:{known}; "
            f"if its authors replaced it, remove its entry from '{folder / CHECKSUMS}'."
        ) from error
    if key not in recorded:
        entry = {
            "sha256": pooch.file_hash(str(file), alg="sha256"),
            "bytes": file.stat().st_size,
            "url": part.url,
            "first_fetched": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        _write_atomically(folder / CHECKSUMS, json.dumps(recorded | {key: entry}, indent=2) + "\n")
    return file


def _recorded(folder: Path) -> dict[str, dict[str, Any]]:
    file = folder / CHECKSUMS
    if not file.exists():
        return {}
    try:
        recorded = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(
            f"'{file}' is damaged; delete it to record the checksums of the next fetch."
        ) from error
    if not isinstance(recorded, dict) or not all(isinstance(entry, dict) for entry in recorded.values()):
        raise DataError(f"'{file}' is not a list of checksums; delete it to record those of the next fetch.")
    return recorded


def _write_atomically(file: Path, text: str) -> None:
    draft = file.with_name(file.name + ".part")
    draft.write_text(text, encoding="utf-8")
    os.replace(draft, file)


class ResumingDownloader:
    """A pooch downloader that continues where a dropped connection or a killed process stopped.

    Bytes are appended to ``<name>.part`` beside the file that pooch asks for. The server's ETag or date is
    kept beside the part and sent as If-Range: if the file has changed on the server, the download starts
    anew, and old and new bytes are never mixed.
    """

    def __init__(self, filename: str, report: Report | None = None) -> None:
        self.filename = filename
        self.report = report

    def __call__(self, url: str, output_file: object, pooch: object = None) -> None:
        """Download `url` to `output_file`; called by pooch."""
        import requests

        target = Path(str(output_file))
        part = target.with_name(self.filename + ".part")
        failures, furthest = 0, -1
        while True:
            try:
                self._continue(url, part)
                break
            except (
                requests.ConnectionError,
                requests.Timeout,
                requests.exceptions.ChunkedEncodingError,
            ) as error:
                size = part.stat().st_size if part.exists() else 0
                # Count only failures without progress in between: a poor line drops a long download often.
                failures, furthest = (failures + 1, furthest) if size <= furthest else (1, size)
                if failures == ATTEMPTS:
                    raise DataError(
                        f"'{self.filename}' cannot be fetched from {url} ({_reason(error)}); "
                        "check the network and try again; the download continues where it stopped."
                    ) from error
                time.sleep(PAUSE * 2 ** (failures - 1))
            except requests.RequestException as error:
                raise DataError(
                    f"'{self.filename}' cannot be fetched from {url} ({_reason(error)})."
                ) from error
        os.replace(part, target)
        _validator(part).unlink(missing_ok=True)

    def _continue(self, url: str, part: Path) -> None:
        import requests

        # identity: the Range of a compressed answer would not count the bytes on disk
        headers = {"User-Agent": f"napari-fewshot-cells/{__version__}", "Accept-Encoding": "identity"}
        there, validator = part.stat().st_size if part.exists() else 0, _validator(part)
        if there and validator.exists():
            headers |= {"Range": f"bytes={there}-", "If-Range": validator.read_text(encoding="utf-8")}
        began = time.monotonic()
        with requests.get(url, headers=headers, stream=True, timeout=(15, 60)) as answer:
            if answer.status_code == 416:  # the server has no bytes beyond the part
                if answer.headers.get("Content-Range", "").rpartition("/")[2] == str(there):
                    return
                part.unlink()
                raise requests.ConnectionError(
                    "the file on the server is shorter than the part that was fetched"
                )
            if answer.status_code >= 500 or answer.status_code == 429:  # busy: try again
                raise requests.ConnectionError(f"the server answered {answer.status_code} {answer.reason}")
            answer.raise_for_status()
            continued = answer.status_code == 206
            if continued and not answer.headers.get("Content-Range", "").startswith(f"bytes {there}-"):
                part.unlink()
                raise requests.ConnectionError("the server continued at the wrong byte")
            if not continued:
                there = 0
            length = int(answer.headers.get("Content-Length", 0))
            total = there + length if length else 0
            done = there
            with part.open("ab" if continued else "wb") as file:
                if not continued:
                    # Only once the file is empty: else old bytes would be continued as the new version.
                    _remember(answer.headers, validator)
                for chunk in answer.iter_content(CHUNK):
                    file.write(chunk)
                    done += len(chunk)
                    if self.report:
                        self.report(Progress(self.filename, done, total, time.monotonic() - began))
        if total and done != total:
            raise requests.ConnectionError(f"the connection ended after {done} of {total} bytes")


def _validator(part: Path) -> Path:
    return part.with_name(part.name + ".validator")


def _remember(headers: Mapping[str, str], file: Path) -> None:
    """Keep the identity of this version of the file. A weak ETag does not identify its bytes."""
    tag = headers.get("ETag", "")
    identity = tag if tag and not tag.startswith("W/") else headers.get("Last-Modified", "")
    if identity:
        file.write_text(identity, encoding="utf-8")
    else:
        file.unlink(missing_ok=True)


def _reason(error: requests.RequestException) -> str:
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"{error.response.status_code} {error.response.reason}"
    inner: BaseException = error  # requests wraps the cause, urllib3 wraps it again
    while inner.args and isinstance(inner.args[0], BaseException):
        inner = inner.args[0]
    inner = getattr(inner, "reason", inner)
    return str(inner.args[0] if inner.args else type(inner).__name__)
