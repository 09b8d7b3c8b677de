"""The networks are the paper's, and batch norm follows the policy of the module's docstring."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from napari_fewshot_cells.models.batch_norm import (
    fused,
    learn_affine,
    norm_layers,
    reset_statistics,
    store_statistics,
)
from napari_fewshot_cells.models.networks import (
    SegmentationNetwork,
    build_network,
    knows_contacts,
    learn_contacts,
    upsample_2x,
)
from napari_fewshot_cells.models.registry import NETWORKS

each = pytest.mark.parametrize("architecture", sorted(NETWORKS))


def test_parameter_counts():
    count = {a: sum(p.numel() for p in build_network(a, 0).parameters()) for a in NETWORKS}
    assert count == {"fcrn": 985_665, "unet": 470_337, "half-unet": 471_300}


@pytest.mark.parametrize(
    ("architecture", "latent"),
    [("fcrn", (2, 512, 8, 6)), ("unet", (2, 128, 16, 12)), ("half-unet", (2, 128, 8, 6))],
)
def test_logits_and_latent_code(architecture, latent):
    logits, code = build_network(architecture, 0)(torch.rand(2, 1, 64, 48))
    assert logits.shape == (2, 1, 64, 48)
    assert code.shape == latent


@each
@pytest.mark.parametrize("shape", [(16, 16), (17, 31), (65, 40)])
def test_any_size(architecture, shape):
    network = build_network(architecture, 0).eval()
    assert network(torch.rand(1, 1, *shape))[0].shape == (1, 1, *shape)


@each
def test_seeded_and_leaves_the_random_state_alone(architecture):
    torch.manual_seed(7)
    before = torch.get_rng_state()
    one, two, other = (build_network(architecture, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    pairs = list(zip(one.parameters(), two.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not torch.equal(next(one.parameters()), next(other.parameters()))


@each
def test_no_scale_and_shift_in_meta_training(architecture):
    network = build_network(architecture, 0)
    assert not any(layer.affine for layer in norm_layers(network))
    assert not any("norm" in name for name, _ in network.named_parameters())


@each
def test_learn_affine_keeps_the_function(architecture):
    network, x = build_network(architecture, 0).eval(), torch.rand(1, 1, 32, 32)
    before, n_before = network(x)[0], len(list(network.parameters()))
    learn_affine(network)
    assert torch.equal(network(x)[0], before)
    assert len(list(network.parameters())) == n_before + 2 * len(list(norm_layers(network)))


@each
def test_stored_statistics_are_the_plain_average_over_batches(architecture):
    network = build_network(architecture, 0).eval()
    batches = [torch.rand(2, 1, 32, 32), 3 * torch.rand(2, 1, 32, 32)]
    first_norm, means = next(norm_layers(network)), []
    first_norm.register_forward_pre_hook(lambda _, x: means.append(x[0].mean(dim=(0, 2, 3))))
    store_statistics(network, batches)
    torch.testing.assert_close(first_norm.running_mean, (means[0] + means[1]) / 2)
    assert first_norm.momentum == 0.1
    assert not network.training


@each
def test_statistics_of_one_image_reproduce_training_mode(architecture):
    network, x = build_network(architecture, 0), torch.rand(1, 1, 128, 128)
    store_statistics(network, [x])
    wanted = network.train()(x)[0]
    got = network.eval()(x)[0]
    # eval divides by n − 1, training by n: a difference of less than a percent here
    torch.testing.assert_close(got, wanted, rtol=0.05, atol=0.05)


@each
@pytest.mark.parametrize("learnt", [False, True])
def test_fused_is_the_same_function_without_batch_norm(architecture, learnt):
    # in double precision: in float32 single logits differ by up to 2e-5 from rounding alone
    network, x = build_network(architecture, 0), torch.rand(1, 1, 72, 56).double()
    if learnt:
        learn_affine(network, scale=0.1)
    network = network.double()
    store_statistics(network, [x])
    before = {name: value.clone() for name, value in network.state_dict().items()}
    folded = fused(network.train())
    assert not list(norm_layers(folded))
    assert fused(folded) is folded
    for got, wanted in zip(folded(x), network.eval()(x), strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-10)
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])


@each
def test_reset_statistics(architecture):
    network = build_network(architecture, 0)
    store_statistics(network, [torch.rand(1, 1, 32, 32)])
    reset_statistics(network)
    for layer in norm_layers(network):
        assert torch.all(layer.running_mean == 0)
        assert torch.all(layer.running_var == 1)


@each
def test_receptive_radius_bounds_what_a_logit_sees(architecture):
    network = build_network(architecture, 0).eval()
    assert network.receptive_radius % network.stride == 0
    x = torch.rand(1, 1, 192, 192)
    for offset in range(network.stride):
        changed = x.clone()
        changed[..., 80 + offset] += 5
        moved = (network(changed)[0] - network(x)[0]).abs().amax(dim=(0, 1, 2)).nonzero().flatten()
        reach = max(80 + offset - moved.min().item(), moved.max().item() - 80 - offset)
        assert 0 < reach <= network.receptive_radius


def test_gradients_reach_an_upsampling_in_its_own_layout():
    """The gradient of half a concatenation is in neither layout; backward would take five times as long."""
    x = torch.rand(2, 8, 6, 5).to(memory_format=torch.channels_last).requires_grad_()
    strides = []
    doubled = upsample_2x(x)
    doubled.register_hook(lambda gradient: strides.append(gradient.stride()))
    both = torch.cat([doubled, torch.rand(2, 3, 12, 10).to(memory_format=torch.channels_last)], dim=1)
    weights = torch.rand(both.shape).to(memory_format=torch.channels_last)
    (both * weights).sum().backward()
    assert strides == [doubled.stride()]
    (expected,) = torch.autograd.grad(
        (F.interpolate(x, scale_factor=2, mode="bilinear") * weights[:, :8]).sum(), x
    )
    torch.testing.assert_close(x.grad, expected)


@each
def test_the_contact_output_begins_at_zero_and_leaves_the_foreground_as_it_was(architecture):
    network, x = build_network(architecture, 0).eval(), torch.rand(2, 1, 40, 52)
    before, latent = network(x)
    assert not knows_contacts(network)
    assert learn_contacts(network)
    assert knows_contacts(network)
    both = network.with_contacts(x)
    assert both.shape == (2, 2, 40, 52)
    torch.testing.assert_close(both[:, :1], before, rtol=0, atol=1e-6)
    assert not both[:, 1].any()
    torch.testing.assert_close(network(x)[1], latent, rtol=0, atol=0)
    head = network.contact_head
    assert learn_contacts(network)
    assert network.contact_head is head  # once is enough
    new = sum(parameter.numel() for parameter in head.parameters())
    assert new <= 300


def test_another_network_has_no_contact_output():
    class Plain(SegmentationNetwork):
        stride, receptive_radius = 1, 0

        def encode_decode(self, x):
            return x, x

    assert not learn_contacts(Plain())
    assert not knows_contacts(Plain())


def test_random_weights_are_those_from_before_there_was_a_contact_output():
    state = build_network("half-unet", 0).state_dict()
    assert not any("contact" in name for name in state)
