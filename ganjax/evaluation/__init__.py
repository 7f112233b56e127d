"""How good generated images are: feature networks, statistics of their features, and distances between them.

``features.py`` says what a feature network is; ``inception.py`` and ``dinov2.py`` are two. ``statistics.py``
accumulates moments, ``distances.py`` and ``neighbours.py`` compare two sets of features, and ``path_length.py``
measures a generator. Each is usable alone, on plain arrays.
"""
