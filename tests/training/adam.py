"""A written-out Adam, for comparison."""

from __future__ import annotations

import torch


def adam_by_hand(network, loss_of_step, steps, lr, weight_decay):
    """Train a network by Adam with float64 moments on the gradients of ``loss_of_step(step)``."""
    m = v = dict.fromkeys(dict(network.named_parameters()), 0.0)
    for step in range(1, steps + 1):
        network.zero_grad()
        loss_of_step(step).backward()
        g = {n: (p.grad + weight_decay * p.detach()).double() for n, p in network.named_parameters()}
        m = {n: 0.9 * m[n] + 0.1 * g[n] for n in g}
        v = {n: 0.999 * v[n] + 0.001 * g[n] ** 2 for n in g}
        with torch.no_grad():
            for n, p in network.named_parameters():
                m_hat, v_hat = m[n] / (1 - 0.9**step), v[n] / (1 - 0.999**step)
                p -= (lr * m_hat / (v_hat.sqrt() + 1e-8)).float()


def assert_same_steps(parameters, by_hand, steps, lr):
    """Compare parameters, except those of tiny gradients: the sign there is noise, and a step is ±lr."""
    for name, parameter in by_hand.named_parameters():
        apart = (parameters[name] - parameter.detach()).abs()
        assert apart.max() <= 2 * steps * lr, name
        assert apart.median() < 0.02 * lr, name
