"""GAT on ImageNet at 256x256, conditional, on the latents of an autoencoder of 8 x 8 pixels a latent.

    # A published one (Stable Diffusion's), then its latents, then the GAN
    ganjax import autoencoder diffusion_pytorch_model.safetensors --workdir runs/autoencoder
    ganjax data encode --workdir runs/autoencoder --out runs/autoencoder/latents
    ganjax train configs/gat_imagenet256.py --workdir runs/gat --model B --run.shard-state True

    # The largest on chips of 16 GB, each network shared by four of them
    ganjax plan configs/gat_imagenet256.py --model XL --checkpointed --run.model-parallel 4 --topology v5e:4x4 \
        --batch-size 256 --run.shard-state True
    ganjax train configs/gat_imagenet256.py --workdir runs/gat_xl --model XL --checkpointed --run.model-parallel 4

Expected: the paper reports an FID-50k of 2.96 for XL/2 after 40 epochs, with ``--teacher``. Not yet
trained here.
"""

from pathlib import Path

from ganjax import Config, DecoderOf, Run
from ganjax.data import Latents
from ganjax.recipes import GATSettings, latent_shape

SETTINGS = GATSettings(model="XL")


def config(
    *,
    autoencoder: Path = Path("runs/autoencoder"),
    latents: Path | None = None,
    num_classes: int = 1000,
    size: int = 256,
    latent_channels: int = 4,
    gat: GATSettings = SETTINGS,
) -> Config:
    """The paper's settings (arXiv 2509.24935).

    Args:
        autoencoder: the workdir of a trained autoencoder.
        latents: what it made of the data; None: its folder ``latents``, which training makes where it is not there.
        num_classes: 1000, or 0 without labels.
        size: pixels a side of the images.
        latent_channels: of the autoencoder.
        gat: the network, and how it is trained.
    """
    shape = latent_shape(size, factor=8, channels=latent_channels)
    run = Run(
        batch_size=gat.batch_size,
        total_images=gat.total_images,
        log_every=40_960,
        sample_every=819_200,
        checkpoint_every=819_200,
        keep_every=8_192_000,
        num_samples=64,
    )
    model = gat.gan(shape, num_classes=num_classes, decoder=DecoderOf(autoencoder))
    return Config(gan=model, data=Latents(latents or autoencoder / "latents"), run=run)
