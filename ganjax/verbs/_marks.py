"""The flags by which people say how what is made is marked: the same for every verb that writes pictures."""

import dataclasses

from etils import epath

from ganjax.ground.errors import UserError
from ganjax.runs.config import Config
from ganjax.runs.origins import marks_of
from ganjax.runs.outputs import given_path
from ganjax.using.credentials import Signer, check_signable
from ganjax.using.marks import Marks
from ganjax.using.watermark import PUBLIC_KEY, Watermark


@dataclasses.dataclass(frozen=True, kw_only=True)
class MarkOptions:
    """How what is made is marked, beside what is always said of it.

    Attributes:
        watermark: also marks the pixels, invisibly, so that `ganjax verify` knows them without the file's metadata.
        watermark_key: with which; any text, which `ganjax verify` has to be told. By default the run's, or a public
            one.
        c2pa_certificate: signs each file (C2PA): a PEM file with the signer's certificate and those above it.
        c2pa_key: a PEM file with its key.
    """

    watermark: bool = False
    watermark_key: str | None = None
    c2pa_certificate: str | None = None
    c2pa_key: str | None = None

    def signer(self, *suffixes: str) -> Signer | None:
        """Who signs, tried; to be called before the work.

        Args:
            *suffixes: of the names of the files that are to be written.

        Raises:
            UserError: there is but half of it, it will not do, or such files cannot be signed.
        """
        if self.c2pa_certificate is None and self.c2pa_key is None:
            return None
        if self.c2pa_certificate is None or self.c2pa_key is None:
            given, other = "--c2pa-certificate", "--c2pa-key"
            given, other = (given, other) if self.c2pa_certificate is not None else (other, given)
            raise UserError(f"{given} is given and {other} is not; give both, or neither")
        for suffix in suffixes:
            check_signable(suffix)
        places: list[epath.Path] = [
            given_path("--c2pa-certificate", self.c2pa_certificate),
            given_path("--c2pa-key", self.c2pa_key),
        ]
        return Signer.from_files(*places)

    def marks(
        self, config: Config, workdir: epath.Path, step: int, *, seed: int | None, signer: Signer | None
    ) -> Marks:
        """The marks of what is made.

        Args:
            config: of the run whose generator makes it.
            workdir: of this run.
            step: of its checkpoint.
            seed: of the latents.
            signer: as ``signer`` gave it.
        """
        watermark = None
        if self.watermark or self.watermark_key is not None:
            watermark = Watermark(self.watermark_key or config.run.watermark or PUBLIC_KEY)
        return marks_of(config, workdir, step, seed=seed, watermark=watermark, signer=signer)
