"""Of which networks? One family a file.

``network.py`` says what every generator, discriminator and encoder is and takes; ``condition.py`` and ``codes.py`` what
they are told; ``layers.py`` has what families share, ``sizes.py`` what their sizes must be. ``mlp.py`` is the family to
read first, then ``dcgan.py``, ``r3gan.py``, ``translation.py`` (from images to images), ``restoration.py``, ``rdn.py``
and ``srgan.py`` (to larger ones), ``star_gan.py``, ``bicycle_gan.py``, ``munit.py``, and ``vae.py``; ``scales.py``
judges at several sizes, ``energy.py`` by reconstructing, ``spectral.py`` and ``normalization.py`` normalise;
``resnet.py`` (SNGAN, SAGAN) and ``biggan.py`` are built of ``residual.py``; ``equalized.py`` has equalised learning
rates, ``resampling.py`` convolutions that change the size; ``stylegan3.py`` stands on ``layer_schedule.py`` and
``filters.py``, ``gat.py`` on ``transformer.py``, ``autoencoder.py`` on ``codebook.py``.
Parameters are float32; a family's ``dtype`` is what its layers compute in.
"""

from ganjax.models.codes import Codes
from ganjax.models.condition import Condition
from ganjax.models.network import Head

__all__ = ["Codes", "Condition", "Head"]
