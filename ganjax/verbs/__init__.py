"""What does a person ask for? One file a verb: ``ganjax NAME`` runs ``run(arguments)`` of ``NAME.py``.

The first line of a file's docstring is what ``ganjax --help`` says of the verb. Each file reads its flags, refuses what
cannot be, and calls the wings below; nothing imports a verb but the command line, benchmarks and tests. ``train.py`` is
where the way to the gradient begins.
"""
