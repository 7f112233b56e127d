"""Serves a page of this machine to draw samples with a run's generator, to steer them, and to save them."""

import contextlib
import dataclasses
import errno
import importlib.util
import logging
import socket
from collections.abc import Sequence
from typing import Any, Literal

from ganjax.algorithms.generators import generator_state, with_generator
from ganjax.ground.checks import check_number
from ganjax.ground.errors import UserError
from ganjax.runs.arguments import parse_arguments
from ganjax.runs.classes import class_names
from ganjax.runs.exits import Exit
from ganjax.runs.exploring import BATCH_SIZE, Explorer
from ganjax.runs.guarding import open_guard
from ganjax.runs.identity import load_identity
from ganjax.runs.points import Maker
from ganjax.runs.sampling import Sampler, restore_state
from ganjax.runs.workdir import load_workdir, workdir_path
from ganjax.verbs._explore_door import is_loopback
from ganjax.verbs._explore_model import directions_of, facts_of, projector_of
from ganjax.verbs._marks import MarkOptions
from ganjax.verbs._translate_inputs import Fitting

INTERRUPTED = "interrupted before the page was served"

_logger = logging.getLogger("ganjax")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExploreOptions(MarkOptions):
    """Serves a page of this machine to draw samples with a run's generator, to steer them, and to save them.

    Example: ganjax explore --workdir runs/quickstart

    Ctrl-C ends it. It writes nothing; what is saved is saved by the browser.

    Attributes:
        workdir: the run's folder.
        host: the address to listen on; by default this machine alone can reach it.
        port: likewise; 0 takes any that is free.
        generator: which of the model's, such as backward_generator of a CycleGAN.
        weights: the averaged weights or the live ones.
        batch_size: images that are computed at once, for whoever asks.
        directions: how many of either kind can be walked, those by the weights (SeFa) and those by samples (PCA).
        project_steps: of the descent by which an uploaded picture is projected; 0: none can be.
        step: the checkpoint after this many iterations instead of the newest.
    """

    workdir: str
    host: str = "127.0.0.1"
    port: int = 8000
    generator: str = "generator"
    weights: Literal["ema", "live"] = "ema"
    batch_size: int = BATCH_SIZE
    directions: int = 8
    project_steps: int = 200
    step: int | None = None


def run(arguments: Sequence[str]) -> None:
    """Carries out ``ganjax explore``."""
    run_explore(parse_arguments(ExploreOptions, arguments, prog="ganjax explore"))


def run_explore(options: ExploreOptions) -> None:
    """Restores a run's generator and serves the page until Ctrl-C: what ``ganjax explore`` does."""
    check_number("--port", options.port, at_least=0, at_most=65_535, example=8000)
    check_number("--batch-size", options.batch_size, at_least=1, at_most=1024, example=BATCH_SIZE)
    check_number("--directions", options.directions, at_least=0, at_most=64, example=8)
    check_number("--project-steps", options.project_steps, at_least=0, at_most=10_000, example=200)
    check_number("--step", options.step, at_least=0, example=1000)
    if missing := [name for name in ("starlette", "uvicorn") if importlib.util.find_spec(name) is None]:
        raise UserError(f"the page is served by {missing[0]}, which is not installed: pip install 'ganjax[explore]'")
    import uvicorn

    from ganjax.verbs._explore_app import application

    workdir = workdir_path(options.workdir)
    config = load_workdir(workdir)
    gan = with_generator(config.gan, options.generator)
    fitting = None if getattr(gan.generator, "input_shape", None) is None else Fitting.of(gan, tile=None)
    signer, guard = options.signer(".png"), open_guard(config, workdir)
    with _listening(options.host, options.port) as listener:
        whole = restore_state(config, workdir, step=options.step)
        maker = Maker(Sampler(gan, weights=options.weights), generator_state(whole, options.generator))
        identity = load_identity(workdir)
        explorer = Explorer(
            maker,
            class_names=class_names(workdir, gan.generator.num_classes),
            attribute_names=() if identity is None else identity.attribute_names,
            directions=directions_of(maker, options.directions) if fitting is None else (),
            projector=projector_of(config, whole, maker, options.project_steps) if fitting is None else None,
            guard=config.guard,
            batch_size=options.batch_size,
        )
        marks = options.marks(config, workdir, int(whole.step), seed=None, signer=signer)
        way_out = Exit(marks, guard=guard, class_names=explorer.known.class_names)
        seen = int(whole.step) * config.run.batch_size
        with contextlib.closing(explorer):
            explorer.warm_up()
            if not is_loopback(options.host):
                _logger.warning(
                    "--host %s: whoever reaches this machine can draw from this run; there is no password", options.host
                )
            server = uvicorn.Server(
                uvicorn.Config(
                    application(
                        explorer, way_out, facts_of(explorer, workdir.name, seen), host=options.host, fitting=fitting
                    ),
                    http="h11",
                    ws="none",
                    lifespan="off",
                    log_level="critical",
                    access_log=False,
                    server_header=False,
                    limit_concurrency=256,
                    timeout_keep_alive=5,
                    timeout_graceful_shutdown=3,
                )
            )
            print(
                f"exploring {workdir} at {seen:,} images: {_address(options.host, listener)} (Ctrl-C ends it)",
                flush=True,
            )
            with contextlib.suppress(KeyboardInterrupt):  # the way to end it
                server.run(sockets=[listener])
    print("ended")


@contextlib.contextmanager
def _listening(host: str, port: int) -> Any:
    """A socket that listens, before anything is loaded.

    Raises:
        UserError: the address is none of this machine's, or the port is taken.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, UnicodeError) as error:
        raise UserError(
            f"--host is {host}, which is no address; expected 127.0.0.1 for this machine alone, or 0.0.0.0 for all"
        ) from error
    with socket.socket(family, kind, protocol) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
            listener.listen(128)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise UserError(
                    f"--port {port} of {host} is in use; end what uses it, or name another, such as --port "
                    f"{port + 1 if port < 65_535 else 8001} (0 takes any that is free)"
                ) from error
            raise UserError(
                f"--host {host} --port {port} cannot be listened on: {error.strerror}; name others, such as "
                "--host 127.0.0.1 --port 8000"
            ) from error
        yield listener


def _address(host: str, listener: socket.socket) -> str:
    """To be opened by a browser of this machine."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{listener.getsockname()[1]}"
