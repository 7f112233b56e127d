"""Several processes as one run: how they find each other, and how they agree.

A run is one program on every host. What it does is decided by its config and by files, and hosts may see a file at
different moments or not at all; so whatever is decided by looking at the world is decided by the first process alone,
and the others are told.
"""

import contextlib
import importlib.util
import json
import os
import re
import sys
import threading
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from ganjax.ground.errors import Fault, UserError

__all__ = ["join"]

_EXPLICIT = re.compile(r"(?P<address>\S+:\d+),(?P<count>\d+),(?P<index>\d+)")
_FAREWELL = 5.0  # seconds in which processes that fail alike say so, each for itself
_HEARTBEAT = 30  # seconds of silence after which JAX counts a process as lost and ends the others
_GRACE = 30  # seconds that JAX waits for longer than we do, for it ends the process with a stack trace


def check_distributed(value: str) -> None:
    """Raises ``UserError`` unless a value of ``run.distributed`` is ``auto``, ``off`` or ``HOST:PORT,COUNT,INDEX``."""
    match = _EXPLICIT.fullmatch(value)
    if value in ("auto", "off") or (match and int(match["index"]) < int(match["count"])):
        return
    raise UserError(
        f"run.distributed is {value!r}; expected auto, off, or HOST:PORT,COUNT,INDEX with INDEX from 0 to COUNT - 1, "
        "such as 10.0.0.1:8476,2,0"
    )


def join(distributed: str, *, timeout: int) -> None:
    """Makes this process one of a run's, before anything asks JAX for a device. A lone machine needs nothing.

    Args:
        distributed: ``auto`` joins the processes that Cloud TPU, Slurm, Kubernetes or MPI started together, as JAX
            detects them; ``off`` does not; ``HOST:PORT,COUNT,INDEX`` names the first process's address, how many there
            are, and which of them this is.
        timeout: seconds after which a process that the others do not join ends with exit code 1.

    Raises:
        UserError: the processes were started in a way that JAX cannot make out.
    """
    check_distributed(distributed)
    if distributed == "off" or jax.distributed.is_initialized():
        return
    arguments: dict[str, Any] = {}
    if match := _EXPLICIT.fullmatch(distributed):
        arguments = {
            "coordinator_address": match["address"],
            "num_processes": int(match["count"]),
            "process_id": int(match["index"]),
            "cluster_detection_method": "deactivate",
        }
    elif _alone():
        return
    elif _started_by_mpi() and "OMPI_MCA_orte_hnp_uri" not in os.environ:  # which JAX knows by itself
        if importlib.util.find_spec("mpi4py") is None:
            raise UserError(
                "MPI started several processes and mpi4py is missing, through which they find each other; "
                "pip install mpi4py, or give --run.distributed HOST:PORT,COUNT,INDEX"
            )
        arguments = {"cluster_detection_method": "mpi4py"}
    # JAX would abort the process with a stack trace.
    alarm = threading.Timer(timeout, _give_up, [arguments, timeout])
    alarm.daemon = True
    alarm.start()
    try:
        jax.distributed.initialize(
            **arguments,
            initialization_timeout=timeout + _GRACE,
            shutdown_timeout_seconds=timeout,
            heartbeat_timeout_seconds=_HEARTBEAT,
        )
    except ValueError as error:
        if distributed != "auto" or "defined" not in str(error):
            raise UserError(f"the processes of this run cannot be made out: {error}") from error
        # JAX detects no cluster: a lone machine.
    except RuntimeError as error:
        if "before any JAX calls" in str(error) and not _started_by_scheduler():
            return  # Python code that has used JAX before, on a lone machine
        reason = " ".join(str(error).split())
        raise Fault(
            f"joining the other processes failed ({reason}); check the address, or --run.distributed"
        ) from error
    finally:
        alarm.cancel()


def lost_process(error: Exception) -> str | None:
    """What to say of an error that means that another process of the run is gone; None of any other."""
    text = " ".join(str(error).split())
    if jax.process_count() == 1 or not re.search("Gloo|[Cc]onnection|UNAVAILABLE|heartbeat|coordination service", text):
        return None
    return (
        f"another process of the run has ended or cannot be reached ({text[:160]}); its own output says why; start the "
        "command again on all hosts, and it goes on from what has been kept"
    )


def leave(exit_code: int) -> None:
    """Ends this process when the run has failed on it, though others may not know: they would be waited for in vain."""
    if not jax.distributed.is_initialized():
        return
    sys.stdout.flush()
    sys.stderr.flush()
    alarm = threading.Timer(_FAREWELL, os._exit, [exit_code])
    alarm.daemon = True
    alarm.start()
    with contextlib.suppress(Exception):
        jax.distributed.shutdown()  # returns at once when the run has failed on all alike
    os._exit(exit_code)


def is_first() -> bool:
    """Whether this is the process that writes pictures, curves and messages."""
    return jax.process_index() == 0


def announce(line: str) -> None:
    """Prints a line, once for the whole run."""
    if is_first():
        print(line, flush=True)


def decided_by_first(decide: Callable[[], Any]) -> Any:
    """The first process's answer, which all processes return: anything that JSON can hold.

    Every process calls it at the same point of the program.

    Raises:
        UserError: ``decide`` raised one on the first process; it is raised on all.
    """
    if jax.process_count() == 1:
        return decide()
    answer, failure = None, None
    if is_first():
        try:
            answer = {"answer": decide()}
        except UserError as error:
            failure = error
            answer = {"error": str(error), "exit_code": error.exit_code}
    content = json.dumps(answer).encode()
    length = int(multihost_utils.broadcast_one_to_all(np.int32(len(content))))
    received = multihost_utils.broadcast_one_to_all(np.frombuffer(content.ljust(length)[:length], np.uint8))
    if failure is not None:
        raise failure
    answer = json.loads(np.asarray(received).tobytes())
    if "error" in answer:
        raise (Fault if answer["exit_code"] == Fault.exit_code else UserError)(answer["error"])
    return answer["answer"]


def any_problem(problem: str | None) -> str | None:
    """What the first process that has a problem says of it, on all processes; None when none has.

    Every process calls it at the same point of the program.
    """
    if jax.process_count() == 1:
        return problem
    text = np.frombuffer((problem or "").encode()[:1024].ljust(1024, b"\0"), np.uint8)
    gathered = np.asarray(multihost_utils.process_allgather(text))
    problems = [row.tobytes().rstrip(b"\0").decode(errors="replace") for row in gathered]
    return next((f"process {i} of {len(problems)}: {found}" for i, found in enumerate(problems) if found), None)


def all_have(content: str | None) -> bool:
    """Whether every process has something, and all the same: a copy of a file, say. None: this one has not.

    Every process calls it at the same point of the program.
    """
    expected = decided_by_first(lambda: content)
    return any_problem(None if content is not None and content == expected else "it differs") is None


def _alone() -> bool:
    """Whether the environment says that nothing was started together with this process."""
    if any(os.environ.get(name) == "1" for name in ("SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE")):
        return True
    return "KUBERNETES_SERVICE_HOST" in os.environ and "JOB_COMPLETION_INDEX" not in os.environ


def _started_by_mpi() -> bool:
    return any(int(os.environ.get(name, 1)) > 1 for name in ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE"))


def _started_by_scheduler() -> bool:
    return _started_by_mpi() or int(os.environ.get("SLURM_NTASKS", 1)) > 1 or "JOB_COMPLETION_INDEX" in os.environ


def _give_up(arguments: dict[str, Any], timeout: int) -> None:
    """Ends the process from another thread, for the one that joins is inside a call that cannot be left."""
    wanted = ""
    if "num_processes" in arguments:
        wanted = f" ({arguments['num_processes']} at {arguments['coordinator_address']})"
    print(
        f"ganjax: not all processes of the run{wanted} joined within {timeout} s; look whether every host started the "
        "command and reaches the first one, or raise --run.distributed-timeout",
        file=sys.stderr,
        flush=True,
    )
    os._exit(Fault.exit_code)
