"""What is a run, in time and on disk?

``config.py`` says what a run is, as a value; ``workdir.py`` is its folder. ``train.py`` is the loop: it asks
``launches.py`` how many iterations come next, and lets ``watch.py`` (metrics, with ``collapse.py``), ``pictures.py``,
``monitor.py`` (evaluation), ``checkpoint.py`` (with ``seal.py``) and ``interruption.py`` look at the result;
``rollback.py`` is for when it went wrong, ``report.py`` the log and the progress line.
``sampling.py`` draws from what was trained, ``subjects.py`` makes it ready to be measured, ``curves.py`` draws its log.
"""
