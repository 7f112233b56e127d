"""Generative adversarial networks in JAX: one pure, jit-able train step, and what is needed around it.

from ganjax import GAN, example_batch, init, sample, train_step
"""

from ganjax import augment, losses
from ganjax.config import Config, Run, load_config
from ganjax.data import DeviceDataset
from ganjax.errors import UserError
from ganjax.gan import GAN, TrainState, draw_latents, example_batch, init, sample, train_step
from ganjax.launch import train_steps
from ganjax.model import Player
from ganjax.optimizers import Adam
from ganjax.penalties import R1, R2, WGANGP
from ganjax.schedules import CosineRamp, Schedule
from ganjax.vae import VAE, VAEState, reconstruct

__all__ = [
    "GAN",
    "R1",
    "R2",
    "VAE",
    "WGANGP",
    "Adam",
    "Config",
    "CosineRamp",
    "DeviceDataset",
    "Player",
    "Run",
    "Schedule",
    "TrainState",
    "UserError",
    "VAEState",
    "augment",
    "draw_latents",
    "example_batch",
    "init",
    "load_config",
    "losses",
    "reconstruct",
    "sample",
    "train_step",
    "train_steps",
]
