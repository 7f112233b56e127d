"""How good are generated images?

``measure.py`` sends images through networks once and makes numbers of what it kept (``kept.py``, ``estimates.py``);
``protocol.py`` says which metrics there are and what a number carries. ``preconditions.py`` and ``cautions.py`` say
what a metric lacks, and what its number does not tell; ``labels.py`` which class is which. ``reference.py`` has the
reals, ``results.py`` the JSON, ``tables.py`` and ``pictures.py`` what a person sees.
``features.py`` says what a feature network is; ``inception.py``, ``dinov2.py`` and ``classifier.py`` are three;
``perception.py`` and ``vgg19.py`` have networks that training looks through.
``statistics.py`` accumulates moments, ``distances.py`` and ``neighbours.py`` compare two sets of features,
``path_length.py`` and ``equivariance.py`` measure a generator, ``paired.py`` images beside their own reals
(``pairs.py``): each is usable alone, on plain arrays.
"""
