"""The same networks and updates in PyTorch, written as one would for speed: what ``torch_peer.py`` compares with.

R3GAN (arXiv 2501.05441) and the quickstart's small DCGAN, both with the relativistic pairing loss, R1 and R2, Adam
and an averaged generator. Penalties take their gradient from the forward pass of the loss; nothing is augmented.
"""

import copy
import dataclasses
import itertools
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional


class Resample(nn.Module):
    """[1, 3, 3, 1] along both axes, as one depthwise convolution: up with gain 4, or down."""

    def __init__(self, channels: int, *, up: bool) -> None:
        super().__init__()
        taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
        kernel = torch.outer(taps, taps).expand(channels, 1, 4, 4) * (4 if up else 1)
        self.register_buffer("kernel", kernel.clone(), persistent=False)
        self.convolve = functional.conv_transpose2d if up else functional.conv2d

    def forward(self, x: Tensor) -> Tensor:
        """Doubles or halves height and width."""
        kernel = self.get_buffer("kernel").to(x.dtype)
        return self.convolve(x, kernel, stride=2, padding=1, groups=x.shape[1])


class ResidualBlock(nn.Module):
    """R3GAN's block: 1 x 1 out, grouped 3 x 3, 1 x 1 back, with a bias and a leaky ReLU after the first two."""

    def __init__(self, width: int, group_size: int, gain: float) -> None:
        super().__init__()
        hidden = 2 * width
        self.expand = nn.Conv2d(width, hidden, 1)
        self.grouped = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden // group_size)
        self.contract = nn.Conv2d(hidden, width, 1, bias=False)
        nn.init.normal_(self.expand.weight, std=gain / math.sqrt(width))
        nn.init.normal_(self.grouped.weight, std=gain / math.sqrt(9 * group_size))
        nn.init.zeros_(self.contract.weight)

    def forward(self, x: Tensor) -> Tensor:
        """The features plus the block's change to them."""
        h = functional.leaky_relu(self.expand(x), 0.2)
        return x + self.contract(functional.leaky_relu(self.grouped(h), 0.2))


def _blocks(width: int, group_size: int, stages: int) -> list[nn.Module]:
    gain = math.sqrt(2 / (1 + 0.2**2)) * (2 * stages) ** -0.25
    return [ResidualBlock(width, group_size, gain) for _ in range(2)]


def _transition(inputs: int, outputs: int) -> list[nn.Module]:
    return [] if inputs == outputs else [nn.Conv2d(inputs, outputs, 1, bias=False)]


class R3GANGenerator(nn.Module):
    """Unconditional; widths from 4 x 4 up."""

    def __init__(self, widths: tuple[int, ...], channels: int, latent_size: int = 64, group_size: int = 16) -> None:
        super().__init__()
        self.linear = nn.Linear(latent_size, widths[0], bias=False)
        self.basis = nn.Parameter(torch.randn(widths[0], 4, 4))
        layers = _blocks(widths[0], group_size, len(widths))
        for before, width in itertools.pairwise(widths):
            layers += [*_transition(before, width), Resample(width, up=True)]
            layers += _blocks(width, group_size, len(widths))
        self.stages = nn.Sequential(*layers, nn.Conv2d(widths[-1], channels, 1, bias=False))

    def forward(self, latents: Tensor, labels: Tensor | None) -> Tensor:
        """Images from latents."""
        return self.stages(self.basis * self.linear(latents)[:, :, None, None])


class R3GANDiscriminator(nn.Module):
    """Unconditional; widths from 4 x 4 up."""

    def __init__(self, widths: tuple[int, ...], channels: int, group_size: int = 16) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(channels, widths[-1], 1, bias=False)]
        for width, after in itertools.pairwise(widths[::-1]):
            layers += _blocks(width, group_size, len(widths))
            layers += [Resample(width, up=False), *_transition(width, after)]
        layers += _blocks(widths[0], group_size, len(widths))
        self.stages = nn.Sequential(*layers, nn.Conv2d(widths[0], widths[0], 4, groups=widths[0], bias=False))
        self.linear = nn.Linear(widths[0], 1, bias=False)

    def forward(self, images: Tensor, labels: Tensor | None) -> Tensor:
        """A logit an image."""
        return self.linear(self.stages(images).flatten(1))[:, 0]


class DCGANGenerator(nn.Module):
    """The quickstart's: conditional, 16 x 16, without normalisation."""

    def __init__(self, features: int = 32, latent_size: int = 32, num_classes: int = 10) -> None:
        super().__init__()
        self.embedding = nn.Embedding(num_classes, 64)
        self.dense = nn.Linear(latent_size + 64, 16 * 2 * features)
        self.first = nn.ConvTranspose2d(2 * features, features, 4, stride=2, padding=1)
        self.second = nn.ConvTranspose2d(features, 1, 4, stride=2, padding=1)

    def forward(self, latents: Tensor, labels: Tensor | None) -> Tensor:
        """Images in [-1, 1] from latents and labels."""
        assert labels is not None
        maps = self.dense(torch.cat([latents, self.embedding(labels)], dim=1))
        maps = functional.relu(maps.view(len(maps), -1, 4, 4))
        return torch.tanh(self.second(functional.relu(self.first(maps))))


class DCGANDiscriminator(nn.Module):
    """The quickstart's: a projection discriminator, without normalisation."""

    def __init__(self, features: int = 32, num_classes: int = 10) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, features, 4, stride=2, padding=1)
        self.second = nn.Conv2d(features, 2 * features, 4, stride=2, padding=1)
        self.dense = nn.Linear(16 * 2 * features, 1)
        self.embedding = nn.Embedding(num_classes, 2 * features)

    def forward(self, images: Tensor, labels: Tensor | None) -> Tensor:
        """A logit an image."""
        assert labels is not None
        maps = functional.leaky_relu(self.first(images), 0.2)
        maps = functional.leaky_relu(self.second(maps), 0.2)
        logits = self.dense(maps.flatten(1))[:, 0]
        return logits + (maps.sum((2, 3)) * self.embedding(labels)).sum(1)


@dataclasses.dataclass
class Trainer:
    """Both networks and what updates them.

    Attributes:
        generator: ``(latents, labels) -> images``.
        discriminator: ``(images, labels) -> logits``.
        latent_size: latents an image.
        num_classes: 0 is unconditional.
        gamma: weight of R1 and of R2.
        device: where everything is.
        bfloat16: computes under autocast; parameters and sums stay float32.
        compiled: runs what is differentiated once through torch.compile, which has no second derivatives.
        channels_last: the order of images and maps in memory.
    """

    generator: nn.Module
    discriminator: nn.Module
    latent_size: int
    num_classes: int
    gamma: float
    device: str
    bfloat16: bool
    compiled: bool
    channels_last: bool = True

    def __post_init__(self) -> None:
        self.order = torch.channels_last if self.channels_last else torch.contiguous_format
        for network in (self.generator, self.discriminator):
            network.to(self.device).to(memory_format=self.order)  # pyright: ignore[reportCallIssue]
        self.average = copy.deepcopy(self.generator).requires_grad_(False)
        cuda = self.device == "cuda"
        self.optimizers = [
            torch.optim.Adam(network.parameters(), lr=2e-4, betas=(0.0, 0.99), fused=cuda)
            for network in (self.generator, self.discriminator)
        ]
        compile_: Callable = torch.compile if self.compiled else lambda network: network
        self.fast_generator, self.fast_discriminator = compile_(self.generator), compile_(self.discriminator)

    def step(self, images: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
        """One iteration: the discriminator's update on the even rows, the generator's on the odd ones.

        Args:
            images: uint8 on the device, two batches of reals interleaved.
            labels: of them.
        """
        for network in (self.generator, self.discriminator):
            network.requires_grad_(True)
        reals = (images.float() / 127.5 - 1).contiguous(memory_format=self.order)
        with torch.autocast(self.device, torch.bfloat16, enabled=self.bfloat16):
            critic_loss = self._critic_loss(reals[0::2], None if labels is None else labels[0::2])
        self._descend(1, critic_loss)

        self.discriminator.requires_grad_(False)
        odd = None if labels is None else labels[1::2]
        with torch.autocast(self.device, torch.bfloat16, enabled=self.bfloat16):
            fake_logits = self.fast_discriminator(self.fast_generator(self._latents(len(reals) // 2), odd), odd)
            with torch.no_grad():
                real_logits = self.fast_discriminator(reals[1::2], odd)
            loss = functional.softplus((real_logits - fake_logits).float()).mean()
        self._descend(0, loss)
        with torch.no_grad():
            for average, current in zip(self.average.parameters(), self.generator.parameters(), strict=True):
                average.lerp_(current, 0.005)
        return critic_loss.detach(), loss.detach()

    def _critic_loss(self, reals: Tensor, labels: Tensor | None) -> Tensor:
        with torch.no_grad():
            fakes = self.fast_generator(self._latents(len(reals)), labels).float()
        logits, penalties = [], []
        for images in (reals, fakes):
            images = images.detach().requires_grad_(True)
            logits.append(self.discriminator(images, labels).float())
            (gradient,) = torch.autograd.grad(logits[-1].sum(), images, create_graph=True)
            penalties.append(gradient.float().square().sum((1, 2, 3)))
        real_logits, fake_logits = logits
        penalty = torch.stack(penalties).sum(0).mean()
        return functional.softplus(fake_logits - real_logits).mean() + self.gamma / 2 * penalty

    def _latents(self, count: int) -> Tensor:
        return torch.randn(count, self.latent_size, device=self.device)

    def _descend(self, index: int, loss: Tensor) -> None:
        self.optimizers[index].zero_grad(set_to_none=True)
        loss.backward()
        self.optimizers[index].step()


def r3gan_trainer(*, widths: tuple[int, ...], channels: int, gamma: float, **settings) -> Trainer:
    """Of R3GAN without labels."""
    networks = R3GANGenerator(widths, channels), R3GANDiscriminator(widths, channels)
    return Trainer(*networks, latent_size=64, num_classes=0, gamma=gamma, **settings)


def quickstart_trainer(*, features: int = 32, **settings) -> Trainer:
    """Of the quickstart."""
    networks = DCGANGenerator(features), DCGANDiscriminator(features)
    return Trainer(*networks, latent_size=32, num_classes=10, gamma=1.0, **settings)


class _DenseBlock(nn.Module):
    """Five convolutions, each on all maps before it (arXiv 1809.00219)."""

    def __init__(self, features: int, growth: int) -> None:
        super().__init__()
        widths = [growth] * 4 + [features]
        self.layers = nn.ModuleList(
            nn.Conv2d(features + index * growth, width, 3, padding=1) for index, width in enumerate(widths)
        )

    def forward(self, x: Tensor) -> Tensor:
        """The maps plus a fifth of their change."""
        maps = [x]
        for layer in self.layers[:-1]:
            maps.append(functional.leaky_relu(layer(torch.cat(maps, 1)), 0.2, inplace=True))
        return x + 0.2 * self.layers[-1](torch.cat(maps, 1))


class RRDBNet(nn.Module):
    """ESRGAN's generator at scale 4, as Real-ESRGAN's x4plus has it."""

    def __init__(self, features: int = 64, growth: int = 32, num_blocks: int = 23) -> None:
        super().__init__()

        def layer(inputs: int, outputs: int) -> nn.Conv2d:
            return nn.Conv2d(inputs, outputs, 3, padding=1)

        self.first, self.trunk, self.last = layer(3, features), layer(features, features), layer(features, 3)
        self.blocks = nn.ModuleList(
            nn.Sequential(*(_DenseBlock(features, growth) for _ in range(3))) for _ in range(num_blocks)
        )
        self.up = nn.ModuleList(layer(features, features) for _ in range(2))
        self.detail = layer(features, features)

    def forward(self, x: Tensor) -> Tensor:
        """Pictures four times as high and wide."""
        first = self.first(x)
        maps = first
        for block in self.blocks:
            maps = maps + 0.2 * block(maps)
        maps = first + self.trunk(maps)
        for layer in self.up:
            maps = functional.leaky_relu(layer(functional.interpolate(maps, scale_factor=2)), 0.2, inplace=True)
        return self.last(functional.leaky_relu(self.detail(maps), 0.2, inplace=True))


class CompactNet(nn.Module):
    """Real-ESRGAN's small generator at scale 4, as animevideov3 has it."""

    def __init__(self, features: int = 64, num_layers: int = 16) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, features, 3, padding=1), nn.PReLU(features)]
        for _ in range(num_layers):
            layers += [nn.Conv2d(features, features, 3, padding=1), nn.PReLU(features)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(features, 48, 3, padding=1), nn.PixelShuffle(4))

    def forward(self, x: Tensor) -> Tensor:
        """Pictures four times as high and wide."""
        return self.layers(x) + functional.interpolate(x, scale_factor=4)
