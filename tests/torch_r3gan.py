"""R3GAN in PyTorch, stated plainly: the networks, the losses and the whole update (arXiv 2501.05441).

It shares nothing with the library and serves as the reference of the parity tests. Images are NCHW here.
"""

import copy
import dataclasses
import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional


def low_pass(channels: int) -> Tensor:
    """[1, 2, 1] * [1, 1] = [1, 3, 3, 1] along both axes with sum 1, once for each channel."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    kernel = torch.outer(taps, taps) / 64
    return kernel.expand(channels, 1, 4, 4)


def upsample(x: Tensor) -> Tensor:
    return functional.conv_transpose2d(x, 4 * low_pass(x.shape[1]), stride=2, padding=1, groups=x.shape[1])


def downsample(x: Tensor) -> Tensor:
    return functional.conv2d(x, low_pass(x.shape[1]), stride=2, padding=1, groups=x.shape[1])


class Block(nn.Module):
    def __init__(self, width: int, group_size: int) -> None:
        super().__init__()
        hidden = 2 * width
        self.w1 = nn.Conv2d(width, hidden, 1, bias=False)
        self.b1 = nn.Parameter(torch.zeros(hidden))
        self.gc = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden // group_size, bias=False)
        self.b2 = nn.Parameter(torch.zeros(hidden))
        self.w3 = nn.Conv2d(hidden, width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        h = functional.leaky_relu(self.w1(x) + self.b1.view(1, -1, 1, 1), 0.2)
        h = functional.leaky_relu(self.gc(h) + self.b2.view(1, -1, 1, 1), 0.2)
        return x + self.w3(h)


def blocks(width: int, group_size: int) -> nn.Sequential:
    return nn.Sequential(Block(width, group_size), Block(width, group_size))


def pointwise(inputs: int, outputs: int) -> nn.Module:
    return nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1, bias=False)


class Generator(nn.Module):
    """``widths`` go from 4 x 4 up; ``num_classes`` 0 is unconditional."""

    def __init__(self, widths, group_size: int, channels: int, latent_size: int, num_classes: int) -> None:
        super().__init__()
        self.embedding = nn.Linear(num_classes, 64, bias=False) if num_classes else None
        self.linear = nn.Linear(latent_size + (64 if num_classes else 0), widths[0], bias=False)
        self.basis = nn.Parameter(torch.zeros(widths[0], 4, 4))
        self.transitions = nn.ModuleList(pointwise(a, b) for a, b in itertools.pairwise(widths))
        self.stages = nn.ModuleList(blocks(width, group_size) for width in widths)
        self.output = nn.Conv2d(widths[-1], channels, 1, bias=False)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        if self.embedding is not None:
            one_hot = functional.one_hot(labels, self.embedding.in_features).float()
            z = torch.cat([z, self.embedding(one_hot)], dim=1)
        x = self.basis * self.linear(z)[:, :, None, None]
        x = self.stages[0](x)
        for transition, stage in zip(self.transitions, self.stages[1:], strict=True):
            x = stage(upsample(transition(x)))
        return self.output(x)


class Discriminator(nn.Module):
    """``widths`` go from 4 x 4 up, as the generator's."""

    def __init__(self, widths, group_size: int, channels: int, num_classes: int) -> None:
        super().__init__()
        width = widths[0]
        self.input = nn.Conv2d(channels, widths[-1], 1, bias=False)
        self.stages = nn.ModuleList(blocks(width, group_size) for width in widths)
        self.transitions = nn.ModuleList(pointwise(b, a) for a, b in itertools.pairwise(widths))
        self.depthwise = nn.Conv2d(width, width, 4, groups=width, bias=False)
        self.linear = nn.Linear(width, width if num_classes else 1, bias=False)
        self.embedding = nn.Linear(num_classes, width, bias=False) if num_classes else None

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        x = self.input(x)
        for index in range(len(self.stages) - 1, 0, -1):
            x = self.transitions[index - 1](downsample(self.stages[index](x)))
        x = self.linear(self.depthwise(self.stages[0](x)).flatten(1))
        if self.embedding is None:
            return x.squeeze(1)
        one_hot = functional.one_hot(labels, self.embedding.in_features).float()
        return (x * self.embedding(one_hot)).sum(1)


def squared_gradient_norm(critic: nn.Module, images: Tensor, labels: Tensor | None) -> Tensor:
    """The squared norm of the logit's gradient with respect to each image, differentiable once more."""
    images = images.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(critic(images, labels).sum(), images, create_graph=True)
    return gradient.square().sum((1, 2, 3))


def critic_loss(critic, reals, fakes, labels, gamma: float) -> Tensor:
    relativistic = functional.softplus(critic(fakes, labels) - critic(reals, labels)).mean()
    r1, r2 = (squared_gradient_norm(critic, images, labels) for images in (reals, fakes))
    return relativistic + gamma / 2 * (r1 + r2).mean()


def generator_loss(critic, reals, fakes, labels) -> Tensor:
    return functional.softplus(critic(reals, labels) - critic(fakes, labels)).mean()


@dataclasses.dataclass(frozen=True)
class Ramp:
    """v(n) = v0 + (1 - (1 + cos(pi n / N)) / 2) (v1 - v0) up to n = N, then v1."""

    start: float
    end: float

    def at(self, images_seen: float, burn_in: float) -> float:
        if images_seen > burn_in:
            return self.end
        return self.start + (1 - (1 + math.cos(math.pi * images_seen / burn_in)) / 2) * (self.end - self.start)


class Adam:
    """Adam without momentum, whose bias correction takes the current beta2."""

    def __init__(self, network: nn.Module) -> None:
        self.parameters = list(network.parameters())
        self.squares = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.count = 0

    @torch.no_grad()
    def step(self, gradients, learning_rate: float, beta2: float) -> None:
        self.count += 1
        correction = 1 - beta2**self.count
        for parameter, square, gradient in zip(self.parameters, self.squares, gradients, strict=True):
            square.mul_(beta2).add_((1 - beta2) * gradient.square())
            parameter.sub_(learning_rate * gradient / ((square / correction).sqrt() + 1e-8))


class Trainer:
    """Two networks, their optimizers and the averaged generator; ``update`` is one iteration."""

    def __init__(
        self,
        generator: Generator,
        critic: Discriminator,
        *,
        burn_in: float,
        gamma: Ramp,
        learning_rate: Ramp,
        beta2: Ramp,
        half_life: Ramp,
    ) -> None:
        self.generator, self.critic, self.average = generator, critic, copy.deepcopy(generator)
        self.generator_adam, self.critic_adam = Adam(generator), Adam(critic)
        self.burn_in, self.images_seen = burn_in, 0
        self.gamma, self.learning_rate, self.beta2, self.half_life = gamma, learning_rate, beta2, half_life

    def update(self, critic_draw, generator_draw) -> tuple[float, float]:
        """One iteration. Each draw is (reals, latents, labels or None). Returns the two losses, penalties included."""
        gamma, learning_rate, beta2, half_life = (
            ramp.at(self.images_seen, self.burn_in)
            for ramp in (self.gamma, self.learning_rate, self.beta2, self.half_life)
        )
        reals, latents, labels = critic_draw
        with torch.no_grad():
            fakes = self.generator(latents, labels)
        loss_c = critic_loss(self.critic, reals, fakes, labels, gamma)
        gradients = torch.autograd.grad(loss_c, self.critic_adam.parameters)
        self.critic_adam.step(gradients, learning_rate, beta2)

        reals, latents, labels = generator_draw
        loss_g = generator_loss(self.critic, reals, self.generator(latents, labels), labels)
        gradients = torch.autograd.grad(loss_g, self.generator_adam.parameters)
        self.generator_adam.step(gradients, learning_rate, beta2)

        keep = 0.5 ** (len(reals) / half_life) if half_life else 0.0
        with torch.no_grad():
            for average, live in zip(self.average.parameters(), self.generator.parameters(), strict=True):
                average.mul_(keep).add_((1 - keep) * live)
        self.images_seen += len(reals)
        return loss_c.item(), loss_g.item()
