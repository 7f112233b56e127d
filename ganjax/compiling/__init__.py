"""How is a step compiled, and what does it cost?

``compilation.py`` compiles a launch of ``launch.py``, which is one iteration or several, for the devices of a mesh.
``flops.py`` counts what the algorithm needs, and ``hlo.py`` reads what a compiler made of it.
"""
