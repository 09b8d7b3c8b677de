"""Transfer learning: its steps, its batches, and runs that resume bit for bit."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_fewshot_cells.base.errors import FewShotError, ModelError
from napari_fewshot_cells.base.progress import finish
from napari_fewshot_cells.data.stride_crops import stride_windows
from napari_fewshot_cells.models.batch_norm import norm_layers
from napari_fewshot_cells.models.losses import weighted_bce
from napari_fewshot_cells.models.model_file import read_model
from napari_fewshot_cells.models.networks import build_network
from napari_fewshot_cells.training import transfer
from napari_fewshot_cells.training.budget import Budget
from napari_fewshot_cells.training.config import MODEL_FILE, TransferConfig
from napari_fewshot_cells.training.meta_training import CURVES_FILE
from napari_fewshot_cells.training.transfer import (
    CURVES,
    STATE_FILE,
    crop_source,
    new_transfer_card,
    transfer_train,
)

from .adam import adam_by_hand, assert_same_steps

CONFIG = TransferConfig(batch=3, crop_size=32, seed=1)
PLAIN = replace(CONFIG, scale_jitter=1.0, mix=False, rescale=False)


def run(folder, sources, tasks, steps, config=CONFIG, arch="fcrn", **options):
    card = new_transfer_card(arch, sources, config, command="napari-fewshot-train transfer", device="cpu")
    return finish(transfer_train(folder, card, tasks, config, Budget(meta_steps=steps), **options))


def assert_same_weights(one, other):
    for name, value in one.network.state_dict().items():
        assert torch.equal(value, other.network.state_dict()[name]), name


def rows(folder):
    with (folder / CURVES_FILE).open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def whole(tmp_path_factory, sources, tasks):
    """An unbroken run of four steps."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, run(folder, sources, tasks, 4)


# --- one step -----------------------------------------------------------------------------------------------


def test_the_steps_are_adams_on_eq_3(tmp_path, sources, tasks):
    """Two steps against Adam written out in float64, with the gradients of the loss itself."""
    trained = run(tmp_path, sources, tasks, 2)
    draw, network = crop_source(tasks, CONFIG), build_network("fcrn", CONFIG.seed).train()

    def loss_of_step(step):
        batch = draw(step - 1)
        return weighted_bce(network(batch.image)[0], batch.target, batch.weight)

    adam_by_hand(network, loss_of_step, 2, CONFIG.lr, CONFIG.weight_decay)
    assert_same_steps(dict(trained.network.named_parameters()), network, 2, CONFIG.lr)


def test_it_learns_what_it_is_shown(tmp_path, sources, tasks):
    config = replace(PLAIN, batch=4, lr=5e-3)
    trained = run(tmp_path, sources, tasks, 60, config).network
    batch = crop_source(tasks, replace(config, batch=24, seed=7))(0)
    losses = [
        weighted_bce(network.train()(batch.image)[0], batch.target, batch.weight).item()
        for network in (build_network("fcrn", config.seed), trained)
    ]
    assert losses[1] < 0.85 * losses[0]


def test_the_start_carries_no_statistics(whole):
    for layer in norm_layers(whole[1].network):
        assert not layer.running_mean.any()
        assert (layer.running_var == 1).all()


def test_bfloat16_goes_its_own_way_and_keeps_float32_weights(tmp_path, sources, tasks):
    full = run(tmp_path / "full", sources, tasks, 1)
    mixed = run(tmp_path / "mixed", sources, tasks, 1, precision="bf16-mixed")
    weights = [m.network.state_dict()["head.weight"] for m in (full, mixed)]
    assert weights[1].dtype == torch.float32
    assert not torch.equal(*weights)
    losses = [float(rows(tmp_path / name)[0]["bce"]) for name in ("full", "mixed")]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)


def test_an_annealed_rate_falls_along_half_a_cosine_and_resumes(tmp_path, sources, tasks):
    annealed = replace(CONFIG, anneal=True)
    assert [annealed.lr_at(share) for share in (0, 0.5, 1)] == pytest.approx([1e-3, 5e-4, 0])
    assert CONFIG.lr_at(0.5) == CONFIG.lr
    unbroken = run(tmp_path / "whole", sources, tasks, 3, annealed)
    card = new_transfer_card("fcrn", sources, annealed, command="", device="cpu")
    steps = transfer_train(tmp_path / "parts", card, tasks, annealed, Budget(meta_steps=3))
    for _ in range(2):
        next(steps)
    steps.close()
    assert_same_weights(unbroken, run(tmp_path / "parts", sources, tasks, 3, annealed))
    constant = run(tmp_path / "constant", sources, tasks, 3)
    assert not torch.equal(constant.network.head.weight, unbroken.network.head.weight)


# --- batches ------------------------------------------------------------------------------------------------


def images_of(batches, tasks):
    """The image that each crop of native scale comes from, counted over all sources."""
    samples = [sample for task in tasks for sample in task.samples]
    found = []
    for crop in torch.cat([batch.image for batch in batches])[:, 0].numpy():
        size = len(crop)
        for i, sample in enumerate(samples):
            windows = np.lib.stride_tricks.sliding_window_view(sample.image, (size, size))
            corners = windows[..., 0, 0] == crop[0, 0]
            if any((window == crop).all() for window in windows[corners]):
                found.append(i)
                break
    return found


def test_by_set_the_sets_take_turns_and_each_image_comes_once_an_epoch(tasks, monkeypatch):
    monkeypatch.setattr(transfer, "augment_crop", lambda stack, rng: stack)
    draw = crop_source(tasks, replace(PLAIN, by_set=True))  # two sets of three images, batches of three
    one, other = {0, 1, 2}, {3, 4, 5}
    assert [set(images_of([draw(step)], tasks)) for step in range(4)] == [one, other, one, other]
    with pytest.raises(FewShotError, match="leave out --by-set or --stride"):
        replace(PLAIN, by_set=True, stride=32)


def test_balance_is_the_power_of_w(tmp_path, sources, tasks):
    config = replace(PLAIN, balance=0.5)
    card = run(tmp_path, sources, tasks, 1, config).card
    assert card.hyper_parameters["balance"] == 0.5
    batch = crop_source(tasks, config)(0)
    logits = build_network("fcrn", config.seed).train()(batch.image)[0]
    wanted = weighted_bce(logits, batch.target, batch.weight, balance=0.5).item()
    assert float(rows(tmp_path)[0]["bce"]) == pytest.approx(wanted, rel=1e-4)


def test_all_sources_are_shuffled_together_and_each_image_comes_once_an_epoch(tasks, monkeypatch):
    monkeypatch.setattr(transfer, "augment_crop", lambda stack, rng: stack)
    draw = crop_source(tasks, PLAIN)  # six images in batches of three: an epoch is two batches
    epochs = [images_of([draw(step), draw(step + 1)], tasks) for step in (0, 2, 4)]
    assert all(sorted(epoch) == [0, 1, 2, 3, 4, 5] for epoch in epochs)
    assert epochs[0] != epochs[1] or epochs[1] != epochs[2]


def test_a_batch_depends_on_its_step_and_the_seed_alone(tasks):
    one, other = crop_source(tasks, CONFIG), crop_source(tasks, CONFIG)
    one(0)
    assert torch.equal(one(1).image, other(1).image)
    assert not torch.equal(one(1).image, one(2).image)
    assert not torch.equal(one(1).image, crop_source(tasks, replace(CONFIG, seed=2))(1).image)
    assert one(1).image.shape == one(1).target.shape == (3, 1, 32, 32)


def test_a_batch_larger_than_all_sources(tasks):
    assert len(crop_source(tasks, replace(CONFIG, batch=20))(0).image) == 20


def test_scale_and_jitter(tasks):
    def batch(**changes):
        return crop_source(tasks, replace(PLAIN, **changes))(0)

    plain = batch()
    for other in (batch(rescale=True), batch(scale_jitter=1.5)):
        assert not torch.equal(plain.target, other.target)


def test_stride_crops_are_the_windows_as_they_are_once_an_epoch(tasks):
    config = replace(CONFIG, stride=48, crop_size=64, rescale=False, mix=False, min_foreground=200, batch=1)
    windows = [
        sample.image[window]
        for task in tasks
        for sample in task.samples
        for window in stride_windows(sample, 64, 48, 200)
    ]
    draw = crop_source(tasks, config)
    crops = [draw(step).image[0, 0].numpy() for step in range(len(windows))]
    assert len(windows) > 6
    assert sorted(c.tobytes() for c in crops) == sorted(np.ascontiguousarray(w).tobytes() for w in windows)
    assert [c.tobytes() for c in crops] != [np.ascontiguousarray(w).tobytes() for w in windows]


# --- runs ---------------------------------------------------------------------------------------------------


def test_a_resumed_run_ends_where_an_unbroken_one_does_bit_for_bit(tmp_path, whole, sources, tasks):
    run(tmp_path, sources, tasks, 1)
    parts = run(tmp_path, sources, tasks, 4)
    assert_same_weights(whole[1], parts)
    assert [r["bce"] for r in rows(whole[0])] == [r["bce"] for r in rows(tmp_path)]
    assert list(rows(tmp_path)[0]) == list(CURVES)


def test_without_adams_moments_it_would_end_elsewhere(tmp_path, monkeypatch, whole, sources, tasks):
    """Resuming needs the state file: θ alone is not enough."""
    run(tmp_path, sources, tasks, 2)
    restore = transfer.restore

    def restore_theta(checkpoint, network, adam):
        restore(checkpoint, network, adam)
        adam.state.clear()

    monkeypatch.setattr(transfer, "restore", restore_theta)
    resumed = run(tmp_path, sources, tasks, 4).network.state_dict()["head.weight"]
    assert not torch.equal(resumed, whole[1].network.state_dict()["head.weight"])


def test_closing_keeps_the_last_complete_step(tmp_path, whole, sources, tasks):
    card = new_transfer_card("fcrn", sources, CONFIG, command="", device="cpu")
    steps = transfer_train(tmp_path, card, tasks, CONFIG, Budget(meta_steps=50))
    for _ in range(3):
        next(steps)
    steps.close()
    assert read_model(tmp_path / MODEL_FILE).card.hyper_parameters["iterations"] == 3
    assert_same_weights(whole[1], run(tmp_path, sources, tasks, 4))


def test_interrupted_inside_a_step(tmp_path, monkeypatch, whole, sources, tasks):
    """Half a step of Adam has changed the network, but the step before it is saved."""
    step = torch.optim.Adam.step

    def interrupted(adam, *arguments):
        step(adam, *arguments)
        if adam.state[adam.param_groups[0]["params"][0]]["step"] == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(torch.optim.Adam, "step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, sources, tasks, 4)
    assert read_model(tmp_path / MODEL_FILE).card.hyper_parameters["iterations"] == 2
    assert_same_weights(whole[1], run(tmp_path, sources, tasks, 4))


@pytest.mark.parametrize("written", [False, True])
def test_interrupted_at_the_curves(tmp_path, interrupted_at_second_rows, whole, sources, tasks, written):
    """If Ctrl-C comes before or after the row of step 2, rows and weights are of the same steps."""
    with interrupted_at_second_rows(transfer, written), pytest.raises(KeyboardInterrupt):
        run(tmp_path, sources, tasks, 4)
    assert [row["iteration"] for row in rows(tmp_path)] == ["1"]
    assert_same_weights(whole[1], run(tmp_path, sources, tasks, 4))
    assert len(rows(tmp_path)) == 4


def test_killed_between_state_and_model(tmp_path, whole, sources, tasks):
    run(tmp_path, sources, tasks, 2)
    older = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    run(tmp_path, sources, tasks, 4)
    (tmp_path / MODEL_FILE).write_bytes(older[MODEL_FILE])  # the state is already of step 4
    assert_same_weights(whole[1], run(tmp_path, sources, tasks, 4))
    assert read_model(tmp_path / MODEL_FILE).card.hyper_parameters["iterations"] == 4
    assert len(rows(tmp_path)) == 4


def test_curves_beyond_the_checkpoint_are_run_again(tmp_path, sources, tasks):
    run(tmp_path, sources, tasks, 1)
    with (tmp_path / CURVES_FILE).open("a") as file:
        file.write("2,9.9,1\n3,1")  # a killed process has written curves, but no checkpoint
    run(tmp_path, sources, tasks, 2)
    assert [row["iteration"] for row in rows(tmp_path)] == ["1", "2"]


def test_a_spent_budget_changes_nothing(tmp_path, sources, tasks):
    first = run(tmp_path, sources, tasks, 1)
    (tmp_path / STATE_FILE).unlink()  # as if the model was published alone
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert_same_weights(first, run(tmp_path, sources, tasks, 1))
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    with pytest.raises(ModelError, match=r"has lost 'training\.safetensors'"):
        run(tmp_path, sources, tasks, 2)


def test_minutes_end_a_run(tmp_path, sources, tasks):
    card = new_transfer_card("fcrn", sources, CONFIG, command="", device="cpu")
    model = finish(transfer_train(tmp_path, card, tasks, CONFIG, Budget(minutes=1e-5)))
    assert model.card.hyper_parameters["iterations"] == 1


def test_other_settings_and_damage_in_the_same_folder(tmp_path, sources, tasks):
    run(tmp_path, sources, tasks, 1)
    with pytest.raises(ModelError, match="trained with other settings"):
        run(tmp_path, sources, tasks, 2, replace(CONFIG, lr=0.1))
    with pytest.raises(ModelError, match="trained with other settings"):
        run(tmp_path, sources, tasks, 2, arch="unet")
    with pytest.raises(ModelError, match="trained with other settings"):
        run(tmp_path, sources[:1], tasks[:1], 2)
    (tmp_path / STATE_FILE).write_bytes(b"damaged")
    with pytest.raises(ModelError, match="damaged"):
        run(tmp_path, sources, tasks, 2)


def test_one_source_is_enough(tmp_path, sources, tasks):
    assert run(tmp_path, sources[:1], tasks[:1], 1).card.hyper_parameters["iterations"] == 1


def test_one_process_only(tmp_path, monkeypatch, sources, tasks):
    several = type("Fabric", (), {"world_size": 2})
    monkeypatch.setattr(transfer, "open_fabric", lambda *_: several)
    with pytest.raises(FewShotError, match="without torchrun"):
        run(tmp_path, sources, tasks, 1)


def test_the_card_says_how(whole):
    card = whole[1].card
    assert [s["name"] for s in card.sources] == ["B39", "EM"]
    assert "Transfer learning" in card.notes
    assert card.batch_norm == "image"
    settings = card.hyper_parameters
    assert (settings["lr"], settings["weight_decay"], settings["batch"]) == (1e-3, 5e-4, 3)
    assert settings["scale_jitter"] == 1.25
    assert "alpha" not in settings
    assert "anneal" not in settings  # off by default, so an older run can resume
    with_stride = TransferConfig(stride=38).as_dict()
    assert with_stride["min_foreground"] == 360
    assert "scale_jitter" not in with_stride  # unused with a stride
    assert card.commit
    assert card.machine
