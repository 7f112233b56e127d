"""What is learned? Pure functions from a state and a batch to the next state.

``step.py`` says what is asked of every algorithm. ``gan.py`` and its iteration, ``gan_step.py``, are to be read first
(``gan_networks.py`` asks the two networks); ``vae.py`` is another one, on the same parts, as are ``cycle_gan.py``,
``cut.py``, ``star_gan.py``, ``bicycle_gan.py`` and ``munit.py``, in which an image goes in. ``draws.py`` deals reals
and noise to the updates, ``gradients.py`` averages over microbatches and devices, ``model.py`` has what all models
share, ``samples.py`` draws from them. What an algorithm is composed of: ``losses.py`` and ``energy_losses.py``
(``loss.py`` says what one is); ``terms.py``, of what ``given.py`` says (``penalties.py`` of the discriminator, of
which ``homogeneous.py`` makes two cheap, ``logit_terms.py``, ``generator_terms.py``, ``perceptual.py``;
``head_terms.py`` and ``orthogonality.py`` of either); ``optimizers.py``.
"""
