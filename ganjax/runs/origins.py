"""What is said of pictures that a run makes: which run, which checkpoint, and how its config wants them marked."""

import hashlib

from etils import epath

from ganjax.runs.config import Config
from ganjax.runs.seal import SEAL
from ganjax.using.credentials import Signer
from ganjax.using.marks import Marks, Origin
from ganjax.using.watermark import Watermark


def checkpoint_hash(workdir: epath.Path, step: int) -> str | None:
    """What tells a checkpoint from all others: the SHA-256 of its seal, which holds what its files are.

    Args:
        workdir: the run's.
        step: of the checkpoint.

    Returns:
        ``sha256:`` and 64 digits; None where there is no such checkpoint any more.
    """
    path = workdir / "checkpoints" / f"{step}" / SEAL
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}" if path.exists() else None


def marks_of(
    config: Config,
    workdir: epath.Path,
    step: int | None,
    *,
    seed: int | None = None,
    watermark: Watermark | None = None,
    signer: Signer | None = None,
    named: bool = True,
) -> Marks:
    """The marks of what a run's generator makes.

    Args:
        config: the run's, which may ask for a watermark.
        workdir: the run's.
        step: of the checkpoint; None: there is none of the weights.
        seed: of the latents.
        watermark: another than the config asks for, or one where it asks for none.
        signer: who signs.
        named: whether the run is named. Its own pictures do not: those of equal runs are equal files anywhere.
    """
    if watermark is None and config.run.watermark is not None:
        watermark = Watermark(config.run.watermark)
    checkpoint = None if step is None else checkpoint_hash(workdir, step)
    return Marks(
        Origin(run=(workdir.name or None) if named else None, checkpoint=checkpoint, step=step, seed=seed),
        watermark,
        signer,
    )
