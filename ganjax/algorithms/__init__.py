"""What is learned? Pure functions from a state and a batch to the next state.

``gan.py`` is the algorithm to read first; ``vae.py`` is another one, on the same parts. ``draws.py`` deals reals and
noise to the updates, ``gradients.py`` averages over microbatches and devices, ``model.py`` has what all models share.
What an algorithm is composed of: ``losses.py``, ``penalties.py`` (``homogeneous.py`` makes two of them cheap),
``optimizers.py``.
"""
