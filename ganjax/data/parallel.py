"""Work on many records at once, by threads: decoding images releases Python's lock."""

from __future__ import annotations

import concurrent.futures
import os
from collections.abc import Callable
from typing import TypeVar

import tqdm

Result = TypeVar("Result")

_CHUNK = 64  # records handed to a thread at a time: enough to hide the cost of handing over
_SILENT_SECONDS = 2.0  # the progress bar appears only when the work outlasts this


def parallel_map(
    function: Callable[[int], Result], indices: range, *, title: str, num_threads: int | None = None
) -> list[Result]:
    """Calls a function for every index, with a progress bar when it takes more than a moment.

    Args:
        function: called from several threads, or for a few indices from this one.
        indices: what it is called with.
        title: what the progress bar says.
        num_threads: by default one a processor.

    Returns:
        The results, in the order of the indices.

    Raises:
        Exception: the first, in the order of the indices, that a call raised; the calls not yet begun are cancelled.
    """
    chunks = [indices[start : start + _CHUNK] for start in range(0, len(indices), _CHUNK)]
    results: list[Result] = []
    threads = num_threads or min(32, os.cpu_count() or 1)
    with (
        concurrent.futures.ThreadPoolExecutor(threads) as pool,
        tqdm.tqdm(total=len(indices), desc=title, unit=" images", delay=_SILENT_SECONDS, leave=False) as progress,
    ):
        spread = pool.map if len(chunks) > 1 else map  # a thread that is started for a few records costs more
        for chunk in spread(lambda chunk: [function(index) for index in chunk], chunks):
            results += chunk
            progress.update(len(chunk))
    return results
