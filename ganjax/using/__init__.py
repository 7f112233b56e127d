"""What can be done with a generator?

``translating.py`` takes pictures of any size through a network that starts from images: padded to sizes that it takes
(``sizes.py``), and in parts that overlap where a picture is large (``tiling.py``). ``pictures.py`` reads and writes
files of pictures, ``films.py`` those of films. Nothing here knows of runs: a network is a function.
"""
