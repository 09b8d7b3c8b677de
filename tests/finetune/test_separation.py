"""Contacts or shape: what the shots decide."""

from __future__ import annotations

import numpy as np
import pytest

from napari_fewshot_cells.data.crops import CONTACT_RADIUS, to_sample, with_contacts
from napari_fewshot_cells.data.plane import to_plane
from napari_fewshot_cells.data.support_set import Shot, make_shot
from napari_fewshot_cells.finetune.calibration import Calibration
from napari_fewshot_cells.finetune.separation import CANDIDATES, choose_contact_logit


def two_halves(*, whole_image: bool = True) -> Shot:
    """A square of 40 px that is two cells, on noise."""
    labels = np.zeros((64, 64), np.int32)
    labels[12:52, 12:32], labels[12:52, 32:52] = 2, 3
    if not whole_image:
        labels[:6] = 1
    image = (labels > 1) + np.random.default_rng(0).normal(0, 0.1, labels.shape)
    return make_shot(to_plane(image, "halves"), labels, whole_image=whole_image)


def logits_of(mask: np.ndarray) -> np.ndarray:
    return np.where(mask, 4.0, -4.0).astype(np.float32)


@pytest.mark.parametrize("right", [True, False])
def test_contacts_are_used_if_they_cut_the_shots_better(right: bool) -> None:
    shot = two_halves()
    sample = with_contacts(to_sample(shot, 1.0), shot.cells)
    zone = sample.contact > 0 if right else np.zeros((64, 64), bool)
    calibration = Calibration(0.0, (logits_of(shot.target > 0),), (logits_of(zone),))
    expected = 0.0 if right else None  # a square has no waist: shape finds one object either way
    assert choose_contact_logit(calibration, [shot], [sample], 28.0) == expected


def test_contacts_that_cut_a_single_cell_are_not_used() -> None:
    """Shape is right here, contacts are wrong: two discs with a waist, and contacts across one of them."""
    rows, columns = np.mgrid[:64, :80]
    labels = np.zeros((64, 80), np.int32)
    labels[np.hypot(rows - 32, columns - 24) <= 16] = 2
    labels[(np.hypot(rows - 32, columns - 54) <= 16) & (labels == 0)] = 3
    shot = make_shot(to_plane(labels + 0.0, "discs"), labels, whole_image=True)
    sample = with_contacts(to_sample(shot, 1.0), shot.cells)
    wrong = np.zeros(labels.shape, bool)
    wrong[30:34, 8:40] = True
    calibration = Calibration(0.0, (logits_of(labels > 0),), (logits_of(wrong),))
    assert choose_contact_logit(calibration, [shot], [sample], 28.0) is None


def test_painted_pairs_decide_for_contacts() -> None:
    shot = two_halves(whole_image=False)
    sample = with_contacts(to_sample(shot, 1.0), shot.cells)
    assert sample.contact is not None
    calibration = Calibration(0.0, (logits_of(shot.target > 0),), (logits_of(sample.contact > 0),))
    assert choose_contact_logit(calibration, [shot], [sample], 28.0) == 0.0


@pytest.mark.parametrize("whole_image", [True, False])
def test_the_logit_lies_between_contacts_and_cells(whole_image: bool) -> None:
    shot = two_halves(whole_image=whole_image)
    sample = with_contacts(to_sample(shot, 1.0), shot.cells)
    contact = np.where(sample.contact > 0, -0.2, -1.3).astype(np.float32)  # all below 0
    chosen = choose_contact_logit(
        Calibration(0.0, (logits_of(shot.target > 0),), (contact,)), [shot], [sample], 28.0
    )
    assert chosen == -0.5
    assert chosen in CANDIDATES


def test_without_logits_of_contact_there_is_no_choice() -> None:
    shot = two_halves()
    assert (
        choose_contact_logit(
            Calibration(0.0), [shot], [with_contacts(to_sample(shot, 1.0), shot.cells)], 28.0
        )
        is None
    )


def test_the_zone_has_the_radius_at_the_networks_scale() -> None:
    shot = two_halves()
    for factor in (0.5, 1.0, 2.0):
        contact = with_contacts(to_sample(shot, factor), shot.cells).contact
        middle = contact[round(32 * factor)]
        assert 2 * CONTACT_RADIUS <= middle.sum() <= 2 * CONTACT_RADIUS + 1
