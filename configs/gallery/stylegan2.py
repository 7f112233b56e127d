"""StyleGAN2 (Karras et al. 2019, arXiv 1912.04958): latents become styles that scale the kernels of every layer.

w = f(z);  kernel'_ijk = s_i kernel_ijk / sqrt(sum_ik (s_i kernel_ijk)^2 + eps)                     (Eq. 1, 3)

Skips in G, residuals in D, lazy R1, path length, mixed styles.

Expect: few images at this budget, for it is the dearest network here; `--truncation 0.7` makes them more typical.
"""

from pathlib import Path

from ganjax import Config
from ganjax.recipes import fashion_experiment, stylegan2_experiment


def config(*, total_images: int = 100_000, path: Path | None = None) -> Config:
    """StyleGAN2 of few channels.

    Args:
        total_images: images to train on.
        path: an .npz with ``images`` and ``labels``, in place of TensorFlow Datasets' fashion_mnist.
    """
    gan = stylegan2_experiment(
        image_shape=(32, 32, 1),
        generator_options={"latent_size": 64, "style_size": 64},
        num_mapping_layers=2,
        channel_base=1024,
        channel_limit=64,
        gamma=0.1,
        ema_half_life=5_000,
        ema_ramp_up=0.1,
        augmentation="none",
        dtype="float32",
    )
    return fashion_experiment(gan, path=path, total_images=total_images)
