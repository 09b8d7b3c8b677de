"""The paper's two networks, FCRN and a light U-Net, and the light U-Net at half resolution.

Each network maps ``(N, 1, H, W)`` to logits ``(N, 1, H, W)`` and to the latent code, the deepest feature map,
which Eq. 5 compares between domains. H and W are free: inputs are padded to a multiple of `stride`.

Few-shot results depend strongly on batch norm, so its policy is explicit:

- Meta-training uses no scale and shift (``affine=False``), as in the paper. `learn_affine` adds them for
  fine-tuning to learn, by default at 1 and 0, which leaves the network's function unchanged.
- Training uses the statistics of the batch. Reptile's inner models end with the statistics of their last
  task, which are of no use to another. So a meta-trained network stores mean 0 and variance 1 until
  `store_statistics` measures the statistics of the images at hand.
- ``eval()`` always uses the stored statistics. The output at a pixel then depends only on its neighbourhood,
  so an image can be predicted in tiles without seams.

References
----------
Xie, Noble, Zisserman, "Microscopy cell counting and detection with fully convolutional regression networks",
2018. Ronneberger, Fischer, Brox, "U-Net", 2015. Sizes follow the code that Dawoud et al. published.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from functools import partial
from pkgutil import resolve_name
from typing import ClassVar, TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .registry import find_network

NormLayer = nn.BatchNorm2d


def _conv(n_in: int, n_out: int) -> nn.Sequential:
    return _block(nn.Conv2d(n_in, n_out, 3, padding=1, bias=False))


def _up(n_in: int, n_out: int) -> nn.Sequential:
    return _block(nn.ConvTranspose2d(n_in, n_out, 2, stride=2, bias=False))


def _block(convolution: nn.Conv2d | nn.ConvTranspose2d) -> nn.Sequential:
    return nn.Sequential(
        convolution, NormLayer(convolution.out_channels, affine=False), nn.ReLU(inplace=True)
    )


class SegmentationNetwork(nn.Module, ABC):
    """Logits and latent code of a grey image.

    Attributes
    ----------
    stride : int
        Sides of the input are padded to a multiple of this.
    receptive_radius : int
        A logit depends on no pixel further away than this, in pixels, if inputs are cut at multiples of
        `stride`. Tiles must overlap by this much; it is a multiple of `stride` too.
    """

    stride: ClassVar[int]
    receptive_radius: ClassVar[int]

    @abstractmethod
    def encode_decode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and latent code of an input whose sides are multiples of `stride`."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Segment a batch into foreground and background.

        Parameters
        ----------
        x : Tensor, float32, (N, 1, H, W)
            Normalised grey images.

        Returns
        -------
        logits : Tensor, float32, (N, 1, H, W)
        latent : Tensor, float32, (N, C, ceil(H / stride), ceil(W / stride))
        """
        logits, latent = self.encode_decode(self._padded(x))
        return logits[..., : x.shape[-2], : x.shape[-1]], latent

    def _padded(self, x: Tensor) -> Tensor:
        below, right = (-side % self.stride for side in x.shape[-2:])
        return F.pad(x, (0, right, 0, below), mode="replicate") if below or right else x


class ContactNetwork(SegmentationNetwork):
    """A network with a second output: whether a pixel is near two different cells.

    The second output reads the same features as the first. It is added by `learn_contacts`, at zero, so that
    the foreground stays what it was.

    Attributes
    ----------
    head, contact_head : nn.Conv2d
        From features to logits; `contact_head` is None until it is added.
    """

    head: nn.Conv2d
    contact_head: nn.Conv2d | None

    @abstractmethod
    def features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The features that the heads read, and the latent code; sides are multiples of `stride`."""

    def to_pixels(self, logits: Tensor) -> Tensor:
        """What a head gives, as one channel at the resolution of the input."""
        return logits

    def encode_decode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and latent code of an input whose sides are multiples of `stride`."""
        features, latent = self.features(x)
        return self.to_pixels(self.head(features)), latent

    def with_contacts(self, x: Tensor) -> Tensor:
        """Logits of foreground and of contact, (N, 2, H, W), of a batch as in `forward`."""
        assert self.contact_head is not None, "learn_contacts adds it"
        features, _ = self.features(self._padded(x))
        logits = torch.cat([self.to_pixels(head(features)) for head in (self.head, self.contact_head)], dim=1)
        return logits[..., : x.shape[-2], : x.shape[-1]]


def knows_contacts(network: nn.Module) -> TypeGuard[ContactNetwork]:
    """Whether a network has the contact output."""
    return isinstance(network, ContactNetwork) and network.contact_head is not None


def learn_contacts(network: nn.Module) -> bool:
    """Add the contact output, at zero, if the network can have one and has none yet (in place).

    Returns
    -------
    bool
        Whether the network has the output now.
    """
    if not isinstance(network, ContactNetwork):
        return False
    if network.contact_head is None:
        head = copy.deepcopy(network.head)
        for parameter in head.parameters():
            nn.init.zeros_(parameter)
        network.contact_head = head
    return True


class FCRN(ContactNetwork):
    """Fully convolutional regression network with transposed convolutions; latent 512 at 1/8."""

    stride = 8
    receptive_radius = 24

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            _conv(1, 32), nn.MaxPool2d(2), _conv(32, 64), nn.MaxPool2d(2), _conv(64, 128), nn.MaxPool2d(2)
        )
        self.bottom = _conv(128, 512)
        self.decoder = nn.Sequential(_up(512, 128), _up(128, 64), _up(64, 32))
        self.head = nn.Conv2d(32, 1, 3, padding=1)
        self.contact_head = None

    def features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features, 32 channels at the input's resolution, and the latent code."""
        latent = self.bottom(self.encoder(x))
        return self.decoder(latent), latent


class UNet(ContactNetwork):
    """Light U-Net: 32, 64, 128 channels, latent 128 at 1/4, bilinear upsampling."""

    stride = 4
    receptive_radius = 28

    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        self.down_1 = nn.Sequential(_conv(channels, 32), _conv(32, 32))
        self.down_2 = nn.Sequential(_conv(32, 64), _conv(64, 64))
        self.bottom = nn.Sequential(_conv(64, 128), _conv(128, 128))
        self.up_2 = nn.Sequential(_conv(128 + 64, 64), _conv(64, 64))
        self.up_1 = nn.Sequential(_conv(64 + 32, 32), _conv(32, 32))
        self.head = nn.Conv2d(32, channels, 1)
        self.contact_head = None

    def features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features, 32 channels at the input's resolution, and the latent code."""
        full = self.down_1(x)
        half = self.down_2(F.max_pool2d(full, 2))
        latent = self.bottom(F.max_pool2d(half, 2))
        half = self.up_2(torch.cat([upsample_2x(latent), half], dim=1))
        full = self.up_1(torch.cat([upsample_2x(half), full], dim=1))
        return full, latent


class HalfUNet(UNet):
    """The light U-Net on blocks of 2 × 2 pixels: four in, four logits out; latent 128 at 1/8.

    It takes a quarter of the light U-Net's time and has twice its receptive radius. Its sub-pixel logits
    follow Shi et al., "Real-time single image and video super-resolution using an efficient sub-pixel
    convolutional neural network", 2016.
    """

    stride = 8
    receptive_radius = 56

    def __init__(self) -> None:
        super().__init__(channels=4)

    def features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features, 32 channels at half the input's resolution, and the latent code."""
        return super().features(F.pixel_unshuffle(x, 2))

    def to_pixels(self, logits: Tensor) -> Tensor:
        """Four channels at half resolution as one at the resolution of the input."""
        return F.pixel_shuffle(logits, 2)


def upsample_2x(x: Tensor) -> Tensor:
    """Double the height and width, bilinearly."""
    doubled = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
    if doubled.requires_grad:
        # The gradient of half a concatenation is in neither memory format; backward from there is 5x slower.
        channels_last = partial(Tensor.contiguous, memory_format=torch.channels_last)
        doubled.register_hook(channels_last)  # type: ignore[no-untyped-call]
    return doubled


def build_network(architecture: str, seed: int) -> SegmentationNetwork:
    """Build a randomly initialised network; the caller's random state stays unchanged.

    Parameters
    ----------
    architecture : str
        A name in `registry.NETWORKS`.
    seed : int
        The same seed gives the same weights (He initialisation).

    Raises
    ------
    ModelError
        The architecture is unknown.
    """
    build = find_network(architecture).build
    make = resolve_name(build) if isinstance(build, str) else build
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: SegmentationNetwork = make()
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
    # Weights in the default layout, as files have it, make prediction 1.3 to 4.5 times slower.
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]
