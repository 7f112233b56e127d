"""Generators and discriminators, one family a file.

Every generator has ``image_shape`` (height, width, channels), ``latent_size`` and ``num_classes`` (0 is unconditional)
and maps latents, and labels when conditional, to float32 images in [-1, 1] or close to it. Every discriminator has
``image_shape`` and ``num_classes`` and maps images to float32 logits, higher for more real. Parameters are float32;
``dtype`` is what the layers compute in. ``layers.py`` has what families share, ``sizes.py`` what their sizes must be.
"""
