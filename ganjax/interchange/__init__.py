"""How do weights come and go? Readers of others' files, which execute nothing, and one importer a family.

``pytorch.py``, ``safetensors.py``, ``ncnn.py`` and ``tensorflowjs.py`` each read one kind of file into arrays by name;
``pickles.py`` takes apart what PyTorch's are made of, and ``foreign.py`` has what all of them refuse. ``realesrgan.py``
is an importer: tables from a family's names to ours, with the change of layout, and what tells its networks apart.
``parameters.py`` has what importers share. A reader takes no more memory than some times the size of its file.
"""
