"""Any array or file becomes a grey plane, or says in one line why not."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage import io

from napari_fewshot_cells.base.errors import DataError, ImageError
from napari_fewshot_cells.data.image_files import list_images, pair_by_stem, read_labels, read_plane
from napari_fewshot_cells.data.plane import normalise, rescale, to_plane

ramp = np.add.outer(np.arange(20), np.arange(24))


@pytest.mark.parametrize(
    "dtype", ["bool", "uint8", "uint16", "int32", "uint64", "float16", "float32", "float64"]
)
def test_every_dtype(dtype):
    values = (ramp > 20) if dtype == "bool" else ramp.astype(dtype)
    plane = to_plane(values, "ramp")
    assert plane.pixels.dtype == np.float32
    np.testing.assert_array_equal(plane.pixels, values.astype(np.float32))


@pytest.mark.parametrize("channels", [3, 4])
def test_colour_becomes_luma_and_alpha_is_ignored(channels):
    rgb = np.stack([ramp, 2 * ramp, 3 * ramp, np.full_like(ramp, 9)][:channels], axis=-1).astype(np.uint8)
    expected = (0.2125 + 2 * 0.7154 + 3 * 0.0721) * ramp
    np.testing.assert_allclose(to_plane(rgb, "rgb").pixels, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((20, 20), 7), "constant"),
        (np.zeros((5, 20, 20)), "3 dimensions"),
        (np.zeros(20), "1 dimensions"),
        (np.where(ramp == 3, np.nan, ramp), "4 NaN or infinite"),
        (np.where(ramp == 0, np.inf, ramp), "1 NaN or infinite"),
        (ramp[:10], "at least 16×16"),
        (ramp.astype(complex), "complex128"),
        (ramp.astype(str), "convert it"),
    ],
)
def test_unusable_arrays_say_why_in_one_line(array, message):
    with pytest.raises(ImageError, match=message) as caught:
        to_plane(array, "my image")
    assert "my image" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_thin_stack_is_not_mistaken_for_colour_when_the_layer_says_so():
    with pytest.raises(ImageError, match="3 dimensions"):
        to_plane(np.random.default_rng(0).random((20, 20, 3)), "stack", rgb=False)


@settings(deadline=None)
@given(
    image=hnp.arrays(np.float32, (16, 18), elements=st.floats(-1e6, 1e6, width=32)),
    gain=st.floats(0.01, 100),
    offset=st.floats(-1000, 1000),
)
def test_normalisation_is_finite_and_bounded(image, gain, offset):
    image[0, 0], image[0, 1] = image.min() - 10, image.max() + 10
    result = normalise(to_plane(image * np.float32(gain) + np.float32(offset), "x"))
    assert np.isfinite(result).all()
    assert result.min() >= -3
    assert result.max() <= 3


def test_normalisation_ignores_camera_offset_and_gain():
    image = np.random.default_rng(0).random((64, 64)).astype(np.float32)
    one, two = normalise(to_plane(image, "a")), normalise(to_plane(image * 300 + 2000, "b"))
    np.testing.assert_allclose(one, two, atol=1e-3)


def test_normalisation_of_a_nearly_empty_image():
    image = np.zeros((64, 64), np.uint8)
    image[3, 3] = 9  # both percentiles are zero
    result = normalise(to_plane(image, "speck"))
    assert result.max() == 1
    assert result.min() == -1


def test_rescale():
    image = np.random.default_rng(0).random((40, 60)).astype(np.float32)
    assert rescale(image, 1) is image
    assert rescale(image, 0.5).shape == (20, 30)
    assert rescale(image, 0.5).mean() == pytest.approx(image.mean(), abs=0.01)
    assert rescale(image, 1.5).shape == (60, 90)


def test_files(tmp_path):
    tifffile.imwrite(tmp_path / "b.tif", ramp.astype(np.uint16))
    io.imsave(tmp_path / "a.png", ramp.astype(np.uint8), check_contrast=False)
    (tmp_path / "notes.txt").write_text("not an image")
    assert [f.name for f in list_images(tmp_path)] == ["a.png", "b.tif"]
    for file in list_images(tmp_path):
        np.testing.assert_array_equal(read_plane(file).pixels, ramp)


@pytest.mark.parametrize(
    "content", [b"", b"not an image at all", b"\x89PNG\r\n\x1a\nbroken", b"II*\x00broken"]
)
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_damaged_files(tmp_path, content, suffix):
    (tmp_path / f"bad{suffix}").write_bytes(content)
    with pytest.raises(ImageError, match=f"'bad{suffix}' cannot be read"):
        read_plane(tmp_path / f"bad{suffix}")


def test_label_files(tmp_path):
    labels = (ramp % 5).astype(np.uint8)
    io.imsave(tmp_path / "grey.png", labels, check_contrast=False)
    io.imsave(tmp_path / "rgb.png", np.stack([labels] * 3, axis=-1), check_contrast=False)
    tifffile.imwrite(tmp_path / "float.tif", labels.astype(np.float32))
    for file in list_images(tmp_path):
        assert read_labels(file).dtype == np.int32
        np.testing.assert_array_equal(read_labels(file), labels)


@pytest.mark.parametrize(
    ("values", "message"),
    [(ramp / 3, "whole numbers"), (ramp - 5, "below 0"), (np.zeros((5, 20, 20), np.uint8), "2-D")],
)
def test_label_files_that_are_none(tmp_path, values, message):
    tifffile.imwrite(tmp_path / "x.tif", values)
    with pytest.raises(ImageError, match=message):
        read_labels(tmp_path / "x.tif")


def test_pairs(tmp_path):
    for folder, names in {"images": ["a.png", "b.tif", "c.png"], "masks": ["a.png", "b.png"]}.items():
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / name).touch()
    pairs = pair_by_stem(tmp_path / "images", tmp_path / "masks")
    assert [(a.name, b.name) for a, b in pairs] == [("a.png", "a.png"), ("b.tif", "b.png")]
    assert pair_by_stem(tmp_path / "images/c.png", tmp_path / "masks/a.png")
    with pytest.raises(DataError, match=r"'c.png' in .* has no file of the same name"):
        pair_by_stem(tmp_path / "masks", tmp_path / "images")
    (tmp_path / "masks/a.tif").touch()
    with pytest.raises(DataError, match="same stem"):
        pair_by_stem(tmp_path / "images", tmp_path / "masks")


def test_missing_and_empty_folders(tmp_path):
    with pytest.raises(DataError, match="no file or folder"):
        list_images(tmp_path / "none")
    with pytest.raises(DataError, match="holds no image"):
        list_images(tmp_path)


@pytest.mark.parametrize("number", [1, 2, 3, 4, 7])
def test_channels_are_kept_as_they_are_and_grey_is_their_mean(number: int) -> None:
    values = np.random.default_rng(0).integers(0, 5000, (20, 30, number), dtype=np.uint16)
    plane = to_plane(values, "channels", channels=True)
    assert plane.shape == (20, 30)
    assert plane.colour is not None
    assert plane.colour.dtype == np.uint16
    np.testing.assert_array_equal(plane.colour, values)
    np.testing.assert_allclose(plane.pixels, values.mean(axis=-1), rtol=1e-6)


def test_a_plane_without_its_channels_is_refused() -> None:
    with pytest.raises(ImageError, match="2 dimensions"):
        to_plane(np.zeros((20, 30)), "flat", channels=True)
