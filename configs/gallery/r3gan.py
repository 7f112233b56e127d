"""R3GAN (Huang et al. 2024, arXiv 2501.05441): a relativistic loss with R1 and R2 needs no other trick.

E softplus(-(D(x) - D(G(z)))) + gamma / 2 (E ||grad D(x)||^2 + E ||grad D(G(z))||^2)                (Eq. 2, 3)

Grouped convolutions in residual blocks without normalisation.

Expect: steady, and dear: two penalties' second derivatives in each step.
"""

from pathlib import Path

from ganjax import Config
from ganjax.recipes import fashion_experiment, r3gan_experiment


def config(*, total_images: int = 100_000, path: Path | None = None) -> Config:
    """R3GAN with one small block a stage.

    Args:
        total_images: images to train on.
        path: an .npz with ``images`` and ``labels``, in place of TensorFlow Datasets' fashion_mnist.
    """
    gan = r3gan_experiment(
        image_shape=(32, 32, 1),
        widths=(32, 32, 32, 16),
        blocks_per_stage=1,
        gamma=1.0,
        burn_in=total_images / 2,
        ema_half_life=5_000,
        learning_rate=1e-3,
        final_learning_rate=5e-4,
        dtype="float32",
    )
    return fashion_experiment(gan, path=path, total_images=total_images)
