"""Takes a snapshot of a session in the GUI thread, for a worker thread to write."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...data.fingerprint import Fingerprint
from ...projects.project import ANNOTATION, CORRECTED, ImageRecord, LabelsRecord, RunRecord, Settings
from ...projects.project_folder import UNKNOWN, ImageState, LabelsState, SessionState
from ..layers.channels import channels_of
from ..layers.metadata import ANNOTATION_OF, CHANNEL_NAMES, FILE, IMAGE, METADATA, WHOLE_IMAGE, noted
from ..layers.planes import pixels_of
from ..layers.result_layers import is_prediction

if TYPE_CHECKING:
    from napari.layers import Image, Labels, Layer

    from ..jobs.predictions import ObjectSettings
    from ..session.rounds import Rounds
    from ..session.session import Session


_GEOMETRY = ("scale", "translate", "rotate", "shear", "units", "axis_labels")
_CHANNEL, _NAMES = "channel", "channel_names"


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A state to write, and the layers of its images and labels; None for an image that is not open."""

    state: SessionState
    images: tuple[Image | None, ...]
    labels: tuple[Labels, ...]


def take_snapshot(
    session: Session,
    objects: ObjectSettings,
    rounds: Rounds,
    fingerprints: Mapping[Image, Fingerprint],
    *,
    every_image: bool = False,
) -> Snapshot:
    """The current state: references to arrays, and plain data.

    Parameters
    ----------
    session, objects, rounds
    fingerprints : mapping
        The known fingerprints of images.
    every_image : bool
        Include images that have neither a file nor an annotation, and the files of the models.
    """
    annotations = session.annotations
    pairs = dict(annotations.items())
    layers: list[Image | None] = []
    images: list[ImageState] = []
    for image in annotations.images:
        record = _image_record(image, fingerprints.get(image, UNKNOWN))
        if every_image or image in pairs or record.path:
            layers.append(image)
            images.append(ImageState(record, pixels_of(image)))
    owned = [session.results.of(image) for image in annotations.images]
    kept: list[tuple[Labels, LabelsState]] = []
    for image, annotation in pairs.items():
        own = _labels_state(annotation.layer, ANNOTATION, layers.index(image), annotation.whole_image)
        kept.append((annotation.layer, own))
    for labels in annotations.labels:
        facts = noted(labels)
        if annotations.image_of(labels) is not None:
            continue
        if IMAGE in facts or ANNOTATION_OF in facts:
            number = _number_of(facts.get(IMAGE), images)
            if number == len(images):
                layers.append(None)
                images.append(ImageState(facts[IMAGE]))
            kept.append((labels, _labels_state(labels, ANNOTATION, number, facts.get(WHOLE_IMAGE, False))))
        elif is_prediction(labels) and labels not in owned:
            kept.append((labels, _labels_state(labels, CORRECTED, None, False)))
    kept = [pair for pair in kept if len(pair[1].record.shape) > 1]
    state = SessionState(
        tuple(images),
        tuple(state for _, state in kept),
        _settings(session, objects),
        tuple(RunRecord(**asdict(run)) for run in rounds.history.runs),
        _models(session, rounds) if every_image else {},
    )
    return Snapshot(state, tuple(layers), tuple(labels for labels, _ in kept))


def _number_of(record: ImageRecord | None, images: list[ImageState]) -> int | None:
    """The index of a record's image; the number of images if it is none of them, None if `record` is None."""
    if record is None:
        return None
    same = (n for n, image in enumerate(images) if image.record.fingerprint == record.fingerprint)
    return next(same, len(images))


def _image_record(image: Image, fingerprint: Fingerprint) -> ImageRecord:
    look: dict[str, Any] = _geometry(image)
    look["blending"] = str(image.blending)
    if not image.rgb:
        look["colormap"] = image.colormap.name
        look["contrast_limits"] = _plain(image.contrast_limits)
    channels = channels_of(image)
    if channels is not None and channels.chosen is not None:
        look[_CHANNEL] = channels.chosen
    if CHANNEL_NAMES in image.metadata:
        look[_NAMES] = [str(name) for name in image.metadata[CHANNEL_NAMES]]
    look = {name: value for name, value in look.items() if value is not None}
    return ImageRecord(
        image.name,
        fingerprint,
        bool(image.rgb),
        _path_of(image),
        reader=image.source.reader_plugin,
        look=look,
    )


def _path_of(image: Image) -> str | None:
    path = noted(image).get(FILE) or image.source.path
    if not isinstance(path, str | Path) or "://" in str(path):
        return None
    return str(Path(path).absolute())


def _labels_state(layer: Labels, role: str, image: int | None, whole_image: bool) -> LabelsState:
    array = pixels_of(layer)
    look = {**_geometry(layer), "opacity": float(layer.opacity)}
    shape = tuple(int(size) for size in array.shape)
    record = LabelsRecord(
        layer.name, "", shape, np.dtype(array.dtype).name, image, role, whole_image, look=look
    )
    return LabelsState(record, array)


def _geometry(layer: Layer) -> dict[str, Any]:
    geometry = {name: _plain(getattr(layer, name)) for name in _GEOMETRY}
    geometry["affine"] = _plain(layer.affine.affine_matrix)
    return {name: value for name, value in geometry.items() if value is not None and not _usual(name, value)}


def _usual(name: str, value: list[Any]) -> bool:
    """Whether a geometry value is the default of a layer."""
    if name == "axis_labels":
        return False  # always kept: the file may name its axes otherwise
    if name == "units":
        return set(value) == {"pixel"}
    numbers = np.asarray(value)
    if numbers.ndim == 2:
        return np.array_equal(numbers, np.eye(*numbers.shape))
    return bool(np.all(numbers == (name == "scale")))


def _plain(value: Any) -> Any:
    """A value for JSON: numbers and texts, in lists; None if a number is not finite."""
    if isinstance(value, str):
        return value
    if isinstance(value, np.ndarray | list | tuple):
        plain = [_plain(item) for item in value]
        return None if None in plain else plain
    if isinstance(value, int | float | np.number):
        return float(value) if math.isfinite(value) else None
    return str(value)  # a unit


def look_options(look: Mapping[str, Any]) -> dict[str, Any]:
    """Options for a new layer; unknown keys, such as those of a later version, are left out."""
    known = (*_GEOMETRY, "affine", "blending", "colormap", "contrast_limits", "opacity")
    options: dict[str, Any] = {name: look[name] for name in known if name in look}
    for name in ("units", "axis_labels"):
        if name in options:
            options[name] = tuple(options[name])
    metadata: dict[str, Any] = {METADATA: {_CHANNEL: look[_CHANNEL]}} if _CHANNEL in look else {}
    if _NAMES in look:
        metadata[CHANNEL_NAMES] = look[_NAMES]
    return {**options, "metadata": metadata}


def _settings(session: Session, objects: ObjectSettings) -> Settings:
    return Settings(
        session.start.name if session.start else None,
        session.model.name if session.model else None,
        session.continued,
        session.preview,
        None if session.diameter is None else float(session.diameter),
        session.scope,
        float(objects.threshold),
        objects.min_size,
        objects.max_hole,
    )


def _models(session: Session, rounds: Rounds) -> dict[str, Path]:
    used = [session.entry(run.model) for run in rounds.history.runs]
    entries = [entry for entry in (*used, session.model, session.start) if entry and not entry.bundled]
    return {entry.name: entry.path for entry in entries}
