"""What is learned? Pure functions from a state and a batch to the next state.

``step.py`` says what is asked of every algorithm. ``gan.py`` and its iteration, ``gan_step.py``, are to be read first;
``vae.py`` is another one, on the same parts, as are ``cycle_gan.py``, ``cut.py``, ``star_gan.py``, ``bicycle_gan.py``
and ``munit.py``, in which an image goes in. ``draws.py`` deals reals and noise to the updates, ``gradients.py``
averages over microbatches and devices, ``model.py`` has what all models share, ``samples.py`` draws from them. What an
algorithm is composed of: ``losses.py``; ``terms.py`` (``penalties.py`` of the discriminator, of which
``homogeneous.py`` makes two cheap, ``generator_terms.py``, ``perceptual.py``, and ``orthogonality.py`` of either);
``optimizers.py``.
"""
