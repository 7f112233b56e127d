"""MAD-GAN (Ghosh et al. 2017, arXiv 1704.02906): D also says which of several generators drew, and drives them apart.

D minimises -E log D_real(x) - E log D_i(G_i(z)),  G_i minimises E log(1 - D_real(G_i(z)))       (section 3.1)

D is one softmax over three generators and the reals; generators share all but their last two layers.

Expect: `ganjax sample --generator 2` draws in one of three styles.
"""

from pathlib import Path

from ganjax import GAN, Adam, Codes, Config, Head, MutualInformation, losses
from ganjax.models import coupled, dcgan
from ganjax.recipes import fashion_experiment


def config(*, total_images: int = 100_000, path: Path | None = None) -> Config:
    """Three generators against one D.

    Args:
        total_images: images to train on.
        path: an .npz with ``images`` and ``labels``, in place of TensorFlow Datasets' fashion_mnist.
    """
    networks = {"image_shape": (32, 32, 1), "features": 16}
    codes, adam = Codes(categories=(3,)), Adam(5e-4, b1=0.5)
    gan = GAN(
        generator=coupled.Generator(**networks, latent_size=67, num_members=3, own_last=2, codes=codes),
        discriminator=dcgan.Discriminator(**networks, heads=(Head("codes", 3, judges="fake"),)),
        generator_optimizer=adam,
        discriminator_optimizer=adam,
        loss=losses.non_saturating,
        penalties=(MutualInformation(1.0),),
    )
    return fashion_experiment(gan, path=path, total_images=total_images)
