"""How do weights come and go? Readers of others' files, which execute nothing, and one importer a family.

``pytorch.py``, ``safetensors.py``, ``ncnn.py`` and ``tensorflowjs.py`` each read one kind of file into arrays by name;
``pickles.py`` takes apart what PyTorch's are made of, ``nvidia.py`` whole networks in a pickle, and ``foreign.py`` has
what all of them refuse; ``checkpoints.py`` chooses among them. ``realesrgan.py`` is an importer: tables from a family's
names to ours, with the change of layout, and what tells its networks apart; ``families.py`` lists them all, and
``parameters.py`` has what they share. A reader takes no more memory than some times the size of its file.

For others there are ``stablehlo.py``, ``model_card.py``, and ``exported.py``, which goes along as ``load.py``.
"""
