"""Services for experiments that a run's log is shown to as well: Weights & Biases, MLflow, Trackio (``run.track``).

None of them may harm a run. One whose package is not there, to which nobody is logged in, or that fails at any time, is
told of once, and training goes on without it. What is sent is sent by a thread, so that training waits for no network.
A run that was stopped goes on in the same place: what each service calls it is kept in the workdir.
"""

import json
import logging
import os
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from etils import epath

from ganjax.ground.files import read_json, write_whole

NAME = "trackers.json"
"""What each service calls the run, in the workdir."""

_PROJECT = "ganjax"
_LONGEST_VALUE = 500  # characters of a setting, by MLflow's limit
_SECONDS_TO_WAIT = 30  # for a service that does not answer
_logger = logging.getLogger("ganjax")


class Service(Protocol):
    """What a service does with a run's log."""

    def scalars(self, images: int, values: Mapping[str, float]) -> None:
        """Takes numbers after so many images."""

    def text(self, images: int, name: str, text: str) -> None:
        """Takes something that happened."""

    def close(self) -> None:
        """Returns when all is sent, or kept to be sent."""


class Tracker:
    """A run's place at a service, or none, if that cannot be had."""

    def __init__(self, service: str, workdir: epath.Path, settings: Mapping[str, str]) -> None:
        """Opens the place, or goes on in it.

        Args:
            service: its name.
            workdir: the run's, whose name the run gets there.
            settings: the values of the config by name.
        """
        self._name, self._service = service, None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tracker")
        # Of a watermark the key is nobody else's business.
        shown = {name: value[:_LONGEST_VALUE] for name, value in settings.items() if name != "run.watermark"}
        try:
            self._service = _SERVICES[service](workdir, shown)
        except ImportError:
            self._give_up(f"its package is not there: pip install 'ganjax[{service}]'")
        except Exception as error:  # whatever a service's package makes of a network, a disk or a password
            self._give_up(_first_line(error))

    def scalars(self, images: int, values: Mapping[str, float]) -> None:
        """Shows numbers."""
        self._do(lambda service: service.scalars(images, values))

    def text(self, images: int, name: str, text: str) -> None:
        """Shows something that happened."""
        self._do(lambda service: service.text(images, name, text))

    def close(self) -> None:
        """Returns when all is sent, or kept to be sent."""
        self._do(lambda service: service.close())
        self._thread.shutdown()

    def _do(self, what: Callable[[Service], None]) -> None:
        if self._service is not None:
            self._thread.submit(self._try, what)

    def _try(self, what: Callable[[Service], None]) -> None:
        if self._service is None:
            return
        try:
            what(self._service)
        except Exception as error:  # as above
            self._give_up(_first_line(error))

    def _give_up(self, reason: str) -> None:
        self._service = None
        _logger.warning("run.track is %s, and %s; training goes on without it", self._name, reason)


class _WandB:
    """Weights & Biases; ``WANDB_MODE=offline`` keeps all in the workdir, for ``wandb sync``."""

    def __init__(self, workdir: epath.Path, settings: Mapping[str, str]) -> None:
        import wandb  # pyright: ignore[reportMissingImports]  (an extra)

        quiet = wandb.Settings(silent=True, console="off", disable_git=True, init_timeout=_SECONDS_TO_WAIT)
        if os.environ.get("WANDB_MODE", "online") == "online" and not wandb.login(prompt=False, referrer="ganjax"):
            raise RuntimeError("nobody is logged in: run `wandb login`, or set WANDB_MODE=offline")
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", _PROJECT),
            name=workdir.name,
            id=_identity(workdir, "wandb"),
            resume="allow",
            dir=None if "://" in str(workdir) else str(workdir),
            config=dict(settings),
            settings=quiet,
        )
        self._run.define_metric("*", step_metric="images")

    def scalars(self, images: int, values: Mapping[str, float]) -> None:
        self._run.log({"images": images, **values})

    def text(self, images: int, name: str, text: str) -> None:
        self._run.summary[name] = f"at {images:,} images: {text}"

    def close(self) -> None:
        self._run.finish()


class _MLflow:
    """MLflow, at ``MLFLOW_TRACKING_URI`` or where it keeps things by itself."""

    def __init__(self, workdir: epath.Path, settings: Mapping[str, str]) -> None:
        import mlflow  # pyright: ignore[reportMissingImports]  (an extra)

        self._client = client = mlflow.MlflowClient()
        known = _known(workdir).get("mlflow")
        self._id = known if known is not None and _exists(client, known) else ""
        if not self._id:
            name = os.environ.get("MLFLOW_EXPERIMENT_NAME", _PROJECT)
            experiment = client.get_experiment_by_name(name)
            place = experiment.experiment_id if experiment is not None else client.create_experiment(name)
            self._id = client.create_run(place, run_name=workdir.name).info.run_id
            _remember(workdir, "mlflow", self._id)
            for setting, value in settings.items():
                client.log_param(self._id, setting, value)
        else:
            client.update_run(self._id, status="RUNNING")

    def scalars(self, images: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._client.log_metric(self._id, name, value, step=images)

    def text(self, images: int, name: str, text: str) -> None:
        self._client.set_tag(self._id, name, f"at {images:,} images: {text}")

    def close(self) -> None:
        self._client.set_terminated(self._id)


class _Trackio:
    """Trackio, which keeps all on this machine unless it is told otherwise."""

    def __init__(self, workdir: epath.Path, settings: Mapping[str, str]) -> None:
        import trackio  # pyright: ignore[reportMissingImports]  (an extra)

        name = f"{workdir.name}-{_identity(workdir, 'trackio')}"
        # The run itself is asked from here on: what the package takes for the present run is a thread's own.
        self._run = trackio.init(project=_PROJECT, name=name, config=dict(settings), resume="allow")

    def scalars(self, images: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=images)

    def text(self, images: int, name: str, text: str) -> None:
        self._run.log({name: text}, step=images)

    def close(self) -> None:
        self._run.finish()


_SERVICES: dict[str, Callable[[epath.Path, Mapping[str, str]], Service]] = {
    "wandb": _WandB,
    "mlflow": _MLflow,
    "trackio": _Trackio,
}


def _exists(client: Any, run_id: str) -> bool:
    try:
        return client.get_run(run_id).info.lifecycle_stage == "active"
    except Exception:  # another server, or it was removed there
        return False


def _identity(workdir: epath.Path, service: str) -> str:
    """What a service calls the run; a new name is kept."""
    known = _known(workdir).get(service)
    return known if known is not None else _remember(workdir, service, uuid.uuid4().hex[:12])


def _known(workdir: epath.Path) -> dict[str, str]:
    path = workdir / NAME
    if not path.exists():
        return {}
    return read_json(
        path,
        fits=lambda content: isinstance(content, dict) and all(isinstance(value, str) for value in content.values()),
        expected="what each service calls the run",
        advice="remove it, and the run gets new places there",
    )


def _remember(workdir: epath.Path, service: str, identity: str) -> str:
    write_whole(workdir / NAME, json.dumps({**_known(workdir), service: identity}, indent=1) + "\n")
    return identity


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:240]
