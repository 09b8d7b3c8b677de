"""Whatever the image's colours, annotated cells are bright in the mixed channel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_fewshot_cells.base.errors import ImageError
from napari_fewshot_cells.base.progress import finish
from napari_fewshot_cells.data.channel_mix import fisher_mix, mix_channels
from napari_fewshot_cells.data.plane import LUMA, to_plane
from napari_fewshot_cells.data.support_set import make_shot, make_support_set
from napari_fewshot_cells.finetune.fine_tune import fine_tune
from napari_fewshot_cells.finetune.recipe import Recipe
from napari_fewshot_cells.models.library import load_model
from napari_fewshot_cells.models.model_file import read_model, write_model
from napari_fewshot_cells.prediction.metrics import iou
from napari_fewshot_cells.prediction.probability import predict
from napari_fewshot_cells.simulate import fluorescent_cells, partial_annotation

disc = np.hypot(*(np.indices((60, 80)) - np.array([30, 40])[:, None, None])) < 20


def support_of(*images, whole_image=True):
    labels = disc.astype(np.int32) + (0 if whole_image else 1)
    return make_support_set(
        make_shot(to_plane(image, f"{n}"), labels, whole_image=whole_image) for n, image in enumerate(images)
    )


def coloured(cell, background, covariance, seed=0):
    """An RGB image of two normal distributions with one covariance."""
    rng = np.random.default_rng(seed)
    noise = rng.multivariate_normal(np.zeros(3), covariance, size=disc.shape)
    return (np.where(disc[..., None], cell, background) + noise).astype(np.float32)


def test_it_is_the_optimal_direction_of_two_normal_distributions():
    covariance = np.array([[4.0, 1.0, 0.5], [1.0, 9.0, 2.0], [0.5, 2.0, 1.0]])
    cell, background = np.array([3.0, 1.0, 2.0]), np.array([1.0, 2.0, 2.5])
    ideal = np.linalg.solve(covariance, cell - background)
    mix = fisher_mix(support_of(*(coloured(cell, background, covariance, seed) for seed in range(5))))
    np.testing.assert_allclose(mix, ideal / np.abs(ideal).sum(), atol=0.03)


@settings(max_examples=30, deadline=None)
@given(
    colours=st.lists(st.integers(0, 255), min_size=6, max_size=6),
    dtype=st.sampled_from(["uint8", "uint16", "float64"]),
    seed=st.integers(0, 9),
)
def test_cells_are_bright_in_the_mix(colours, dtype, seed):
    image = coloured(colours[:3], colours[3:], 9 * np.eye(3), seed).clip(0, 300)
    if dtype == "uint8":
        image = image.clip(0, 255)
    image = image.astype(dtype)
    support = support_of(image)
    seen = mix_channels(support.shots[0].plane, fisher_mix(support)).pixels
    assert seen.dtype == np.float32
    assert seen[disc].mean() >= seen[~disc].mean()


@pytest.mark.parametrize("sign", [1, -1])
def test_grey_images_are_turned_bright(sign):
    image = sign * coloured([5, 5, 5], [1, 1, 1], np.eye(3))[..., 0]
    support = support_of(image)
    assert fisher_mix(support) == (float(sign),)
    np.testing.assert_array_equal(mix_channels(support.shots[0].plane, (float(sign),)).pixels, sign * image)


def test_a_grey_image_saved_in_colour_counts_its_equal_channels_equally():
    grey = coloured([5, 5, 5], [9, 9, 9], np.eye(3))[..., 0]
    mix = fisher_mix(support_of(np.repeat(grey[..., None], 3, axis=-1)))
    np.testing.assert_allclose(mix, [-1 / 3] * 3, rtol=1e-6)


def test_only_annotated_pixels_count():
    image = coloured([9, 5, 5], [1, 5, 5], np.eye(3))
    labels = np.where(disc, 2, 1).astype(np.int32)
    labels[:30] = 0
    torn = image.copy()
    torn[:30] = 1000 * np.random.default_rng(1).random((30, 80, 3))
    assert fisher_mix(make_support_set([make_shot(to_plane(image, "a"), labels)])) == fisher_mix(
        make_support_set([make_shot(to_plane(torn, "b"), labels)])
    )


def test_one_grey_shot_among_coloured_ones_makes_all_of_them_grey():
    image = coloured([5, 1, 1], [1, 5, 5], np.eye(3))
    grey = -image[..., 0]
    assert len(fisher_mix(support_of(image, grey))) == 1


def test_without_any_difference_it_is_luma():
    flat = np.zeros((60, 80, 3), np.uint8)
    flat[::2] = 90
    labels = np.zeros((60, 80), np.int32)
    labels[:, :40] = 1  # both halves hold the same stripes
    support = make_support_set([make_shot(to_plane(flat, "stripes"), labels, whole_image=True)])
    assert fisher_mix(support) == LUMA


def test_a_channel_that_is_constant_takes_no_part():
    image = coloured([5, 1, 1], [1, 5, 5], np.eye(3))
    image[..., 2] = 7
    mix = fisher_mix(support_of(image))
    assert mix[2] == 0
    assert np.isfinite(mix).all()


def test_an_image_without_the_colours_of_the_mix_says_so():
    only_blue = np.zeros((60, 80, 3), np.uint8)
    only_blue[..., 2] = np.where(disc, 200, 10)
    with pytest.raises(ImageError, match="'blue' is constant in the model's mix of channels"):
        mix_channels(to_plane(only_blue, "blue"), (0.5, -0.5, 0.0))


def test_cells_as_light_as_their_background_are_found_by_their_hue(tmp_path):
    """Pink cells on a green background of the same luma: grey values do not show them."""
    model = load_model("fcrn")

    def slide(seed):
        image, labels = fluorescent_cells((192, 192), seed=seed)
        red = (image - image.min()) / np.ptp(image)
        noise = np.random.default_rng(seed).normal(0.5, 0.05, red.shape)
        green = (noise - LUMA[0] * red - LUMA[2] * 0.3) / LUMA[1]
        return np.stack([red, green, np.full_like(red, 0.3)], axis=-1).astype(np.float32), labels

    image, labels = slide(1)
    other, truth = slide(2)
    support = make_support_set([make_shot(to_plane(image, "pink"), partial_annotation(labels, seed=1))])
    by_hue, by_luma = (
        finish(fine_tune(model, support, recipe=Recipe(steps=10, mix=mix))) for mix in (True, False)
    )
    path = write_model(by_hue, tmp_path / "by_hue")
    plane = to_plane(other, "other")
    assert iou(predict(read_model(path), plane) > 0.5, truth) >= 0.75
    assert iou(predict(by_luma, plane) > 0.5, truth) < 0.5
    assert by_luma.card.mix is None


def with_channels(seed=0):
    """A plane of four channels: noise, dark cells, bright and noisy cells, noise."""
    rng = np.random.default_rng(seed)
    image = rng.normal(100, 2, (60, 80, 4))
    image[..., 1] -= 10 * disc
    image[..., 2] += 10 * disc + rng.normal(0, 8, disc.shape)
    return to_plane(image.astype(np.float32), "many", channels=True)


def test_a_microscopes_channels_are_mixed_as_colours_are():
    plane = with_channels()
    support = make_support_set([make_shot(plane, disc.astype(np.int32), whole_image=True)])
    mix = fisher_mix(support)
    assert len(mix) == 4
    assert mix[1] < -0.7  # the clean channel counts most, the other way round
    assert mix[2] > 0
    assert max(abs(mix[0]), abs(mix[3])) < 0.1
    seen = mix_channels(with_channels(seed=1), mix).pixels
    assert (seen[disc].mean() - seen[~disc].mean()) / seen[~disc].std() > 4


def test_a_plane_of_other_channels_than_the_mix_is_grey():
    mix = (0.5, -0.25, -0.5, 0.1)
    in_colour = to_plane(coloured([5, 1, 1], [1, 5, 5], np.eye(3)), "RGB")
    np.testing.assert_array_equal(mix_channels(in_colour, mix).pixels, -in_colour.pixels)


def test_shots_of_different_channels_are_compared_by_their_grey_values():
    labels = disc.astype(np.int32)
    planes = [with_channels(), to_plane(coloured([5, 1, 1], [1, 5, 5], np.eye(3)), "RGB")]
    support = make_support_set([make_shot(plane, labels, whole_image=True) for plane in planes])
    assert len(fisher_mix(support)) == 1


def test_without_any_difference_channels_count_equally():
    flat = np.zeros((60, 80, 2), np.uint8)
    flat[::2] = 90
    labels = np.zeros((60, 80), np.int32)
    labels[:, :40] = 1
    plane = to_plane(flat, "stripes", channels=True)
    assert fisher_mix(make_support_set([make_shot(plane, labels, whole_image=True)])) == (0.5, 0.5)
