"""Generative adversarial networks in JAX: one pure, jit-able train step, and what is needed around it.

    from ganjax import GAN, example_batch, init, sample, train_step

Each folder is a wing that answers one question, and imports only from those below it, from the top: ``cli.py`` and
``verbs/`` (what does a person ask for?), ``recipes.py`` (what do the experiments of a paper share?), ``runs/`` (what is
a run, in time and on disk?), ``using/`` (what can be done with a generator?), ``evaluation/`` (how good are the
images?), ``interchange/`` (how do weights come and go?), ``compiling/`` (how is a step compiled, and what does it
cost?), ``algorithms/`` (what is learned?), ``models/`` and ``augment/`` (of which networks, through which
augmentations?), ``data/`` (which images, in which order?), ``platform/`` (where does it run?), ``ground/``.
"""

import sys

from ganjax import augment
from ganjax.algorithms import losses
from ganjax.algorithms.adversarial_autoencoder import AdversarialAutoencoder
from ganjax.algorithms.autoencoder import Autoencoder
from ganjax.algorithms.bicycle_gan import BicycleGAN
from ganjax.algorithms.bigan import BiGAN
from ganjax.algorithms.cluster_gan import ClusterGAN
from ganjax.algorithms.cut import CUT
from ganjax.algorithms.cycle_gan import CycleGAN
from ganjax.algorithms.differences import DifferenceR1, DifferenceR2
from ganjax.algorithms.distillation import Distillation
from ganjax.algorithms.encoders import encode, reconstruct
from ganjax.algorithms.gan import GAN, TrainState
from ganjax.algorithms.gan_step import iterate_gan as _iterate_gan  # noqa: F401  (registers itself)
from ganjax.algorithms.generator_terms import (
    FeatureMatching,
    PathLength,
    RealDistance,
    Repelling,
    ScaleConsistency,
)
from ganjax.algorithms.generators import generator_state, with_generator
from ganjax.algorithms.given import Generated, Judged, Scored
from ganjax.algorithms.head_terms import Classification, DiscriminativeClassification, MutualInformation
from ganjax.algorithms.logit_terms import Consistency, LatentConsistency, LatentDiversity, LeCam
from ganjax.algorithms.model import NetworksState, Player
from ganjax.algorithms.munit import MUNIT
from ganjax.algorithms.optimizers import Adam, Clipped
from ganjax.algorithms.orthogonality import Orthogonality
from ganjax.algorithms.penalties import DRAGAN, R1, R2, WGANGP, WGANDiv, ZeroCentred
from ganjax.algorithms.perceptual import PerceptualDistance
from ganjax.algorithms.samples import draw_latents, example_batch, sample
from ganjax.algorithms.star_gan import StarGAN
from ganjax.algorithms.step import gradients, init, iterate, train_step
from ganjax.algorithms.terms import Term
from ganjax.algorithms.vae import VAE, VAEState
from ganjax.algorithms.vae_gan import VAEGAN
from ganjax.compiling.launch import train_steps
from ganjax.data import DeviceDataset
from ganjax.ground.errors import Fault, UserError
from ganjax.ground.schedules import CosineRamp, Geometric, Halving, LinearDecay, Schedule, Steps
from ganjax.models import Codes, Condition, Head
from ganjax.runs import train
from ganjax.runs.config import Config, Run, load_config
from ganjax.runs.latents import DecoderOf
from ganjax.using.guard import Guard

# Where code lives is the wings' business. These two modules are imported by the configs of workdirs and by programs.
sys.modules |= {"ganjax.losses": losses, "ganjax.train": train}

__all__ = [
    "CUT",
    "DRAGAN",
    "GAN",
    "MUNIT",
    "R1",
    "R2",
    "VAE",
    "VAEGAN",
    "WGANGP",
    "Adam",
    "AdversarialAutoencoder",
    "Autoencoder",
    "BiGAN",
    "BicycleGAN",
    "Classification",
    "Clipped",
    "ClusterGAN",
    "Codes",
    "Condition",
    "Config",
    "Consistency",
    "CosineRamp",
    "CycleGAN",
    "DecoderOf",
    "DeviceDataset",
    "DifferenceR1",
    "DifferenceR2",
    "DiscriminativeClassification",
    "Distillation",
    "Fault",
    "FeatureMatching",
    "Generated",
    "Geometric",
    "Guard",
    "Halving",
    "Head",
    "Judged",
    "LatentConsistency",
    "LatentDiversity",
    "LeCam",
    "LinearDecay",
    "MutualInformation",
    "NetworksState",
    "Orthogonality",
    "PathLength",
    "PerceptualDistance",
    "Player",
    "RealDistance",
    "Repelling",
    "Run",
    "ScaleConsistency",
    "Schedule",
    "Scored",
    "StarGAN",
    "Steps",
    "Term",
    "TrainState",
    "UserError",
    "VAEState",
    "WGANDiv",
    "ZeroCentred",
    "augment",
    "draw_latents",
    "encode",
    "example_batch",
    "generator_state",
    "gradients",
    "init",
    "iterate",
    "load_config",
    "losses",
    "reconstruct",
    "sample",
    "train",
    "train_step",
    "train_steps",
    "with_generator",
]
