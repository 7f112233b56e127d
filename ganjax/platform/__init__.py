"""Where does it run?

``forms.py`` says which way of computing suits which hardware, ``convolutions.py`` has that of a CPU's convolutions in
effect, ``chips.py`` what accelerators can do. ``sharding.py`` places arrays on a mesh of devices,
``distributed.py`` makes several processes one run, ``cache.py`` is where things are kept that can be made again.
"""

from ganjax.platform import convolutions as convolutions
