"""What is a run, in time and on disk?

``config.py`` says what a run is, as a value; ``workdir.py`` is its folder. ``train.py`` is the loop, one page: it asks
``launches.py`` how many iterations come next and ``inputs.py`` for their images, and shows the result to its observers
(``observer.py``): ``watch.py`` (metrics, with ``collapse.py``), ``pictures.py``, ``evaluations.py`` (with
``monitor.py``), ``saver.py`` (with ``checkpoint.py``, ``packing.py`` and ``seal.py``) and ``interruption.py``.
``report.py`` is the log and the progress line, ``rollback.py`` for when it went wrong.
``sampling.py`` (with ``standing.py``) draws from what was trained, ``translating.py`` gives it pictures;
``subjects.py`` and ``pairs.py`` make it ready to be measured, ``curves.py`` draws its log.
"""
