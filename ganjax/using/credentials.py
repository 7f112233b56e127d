"""Content Credentials (C2PA): a file signed with the user's certificate, through ``pip install 'ganjax[c2pa]'``.

The signature covers the file's bytes and what is said of them, so that neither can be changed unseen. Who signs is for
the certificate to say, and whether that is to be believed for the reader's list of authorities.
"""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

from etils import epath

from ganjax.ground.errors import UserError
from ganjax.using.xmp import TRAINED, File

KINDS = {
    ".png": "image/png",
    ".apng": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".gif": "image/gif",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".mov": "video/quicktime",
    ".avi": "video/x-msvideo",
}
"""Files that can be signed, by the ends of their names."""

_ASSERTION = "ganjax.origin"


@dataclasses.dataclass(frozen=True)
class Signer:
    """Who signs: a chain of certificates, the signer's first, and its key, both as PEM."""

    certificate: bytes
    key: bytes = dataclasses.field(repr=False)

    @classmethod
    def from_files(cls, certificate: epath.Path, key: epath.Path) -> Signer:
        """Reads both, and tries them.

        Raises:
            UserError: one is not there, is no such thing, or they do not belong together.
        """
        contents = []
        for flag, path, what in (
            ("--c2pa-certificate", certificate, b"-----BEGIN CERTIFICATE-----"),
            ("--c2pa-key", key, b"PRIVATE KEY-----"),
        ):
            try:
                content = path.read_bytes()
            except OSError as error:
                raise UserError(f"{flag} {path} cannot be read: {error.strerror}; name another file") from error
            if what not in content:
                example = "the signer's certificate, then those above it" if b"CERT" in what else "the signer's key"
                raise UserError(f"{flag} {path} is no PEM of {what.decode().strip('-')}; expected {example}")
            contents.append(content)
        signer = cls(*contents)
        signer.sign(io.BytesIO(_SMALLEST), io.BytesIO(), suffix=".gif", origin={"tool": "ganjax", "version": "0"})
        return signer

    def sign(self, plain: File, signed: File, *, suffix: str, origin: Mapping[str, str]) -> None:
        """Copies a file, and signs the copy.

        Args:
            plain: opened for reading, at its start.
            signed: opened for writing.
            suffix: of its name.
            origin: what is said of it, beside that a trained model made it.

        Raises:
            UserError: the kind of file has no place for a signature, or the certificate will not do.
        """
        check_signable(suffix)
        c2pa = _c2pa()
        title, made = f"{origin['tool']} {origin['version']}", {"digitalSourceType": TRAINED}
        agent = {"name": origin["tool"], "version": origin["version"]}
        action = {"action": "c2pa.created", "softwareAgent": agent, **made}
        manifest = {
            "claim_generator_info": [agent],
            "title": title,
            "assertions": [
                {"label": "c2pa.actions.v2", "data": {"actions": [action]}},
                {"label": _ASSERTION, "data": dict(origin)},
            ],
        }
        algorithm = getattr(c2pa.C2paSigningAlg, _algorithm(self.key))
        target = io.BytesIO()
        try:
            info = c2pa.C2paSignerInfo(alg=algorithm, sign_cert=self.certificate, private_key=self.key, ta_url=None)
            # A picture that is shown is thumbnail enough, and one of noise takes more bytes than the picture.
            context = c2pa.Context.from_dict({"builder": {"thumbnail": {"enabled": False}}})
            with c2pa.Signer.from_info(info) as signer, c2pa.Builder(json.dumps(manifest), context) as builder:
                builder.sign(signer, KINDS[suffix.lower()], plain, target)
        except c2pa.C2paError as error:
            raise UserError(
                f"--c2pa-certificate: nothing can be signed with it ({_first_line(error)}); expected a certificate for "
                "signing documents or e-mail, its chain after it, and --c2pa-key with its own key"
            ) from error
        signed.write(target.getvalue())


class Credentials(NamedTuple):
    """What a signature in a file says.

    Attributes:
        intact: whether the file is as it was signed.
        trusted: whether the signer's certificate leads to an authority that C2PA knows.
        signer: whose certificate it is; None where that is not told.
        origin: what ganjax said when it signed; empty for others' files.
        problem: what is wrong with it; None for nothing.
    """

    intact: bool
    trusted: bool
    signer: str | None
    origin: dict[str, str]
    problem: str | None


def check_signable(suffix: str) -> None:
    """Raises ``UserError`` unless a file of a name that ends so can be signed, and the package is there."""
    if suffix.lower() not in KINDS:
        raise UserError(f"--c2pa-certificate: a {suffix} file cannot be signed; expected one of {', '.join(KINDS)}")
    _c2pa()


def read_credentials(file: File, *, suffix: str) -> Credentials | None:
    """What a signature in a file says; None: there is none, or the package that reads it is not there."""
    if suffix.lower() not in KINDS:
        return None
    try:
        c2pa = _c2pa()
    except UserError:
        return None
    file.seek(0)
    try:
        with c2pa.Reader(KINDS[suffix.lower()], file) as reader:
            store: dict[str, Any] = json.loads(reader.json())
    except c2pa.C2paError as error:
        if "ManifestNotFound" in type(error).__name__ or "ManifestNotFound" in str(error):
            return None
        return Credentials(False, False, None, {}, _first_line(error))
    manifest = store.get("manifests", {}).get(store.get("active_manifest"), {})
    said = next((found["data"] for found in manifest.get("assertions", []) if found["label"] == _ASSERTION), {})
    who = manifest.get("signature_info", {})
    codes = [found.get("code", "") for found in store.get("validation_status", [])]
    wrong = [code for code in codes if code != "signingCredential.untrusted"]
    return Credentials(
        intact=not wrong,
        trusted=not codes,
        signer=who.get("common_name") or who.get("issuer"),
        origin={str(name): str(value) for name, value in cast(dict, said).items()},
        problem=wrong[0] if wrong else None,
    )


def _algorithm(key: bytes) -> str:
    """C2PA's name of how such a key signs."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    advice = "expected an elliptic curve's (P-256, P-384, P-521), Ed25519's or RSA's, without a password"
    try:
        loaded = load_pem_private_key(key, password=None)
    except (ValueError, TypeError) as error:
        raise UserError(f"--c2pa-key cannot be read ({_first_line(error)}); {advice}") from error
    if isinstance(loaded, ec.EllipticCurvePrivateKey) and loaded.curve.key_size in (256, 384, 521):
        return {256: "ES256", 384: "ES384", 521: "ES512"}[loaded.curve.key_size]
    if isinstance(loaded, ed25519.Ed25519PrivateKey):
        return "ED25519"
    if isinstance(loaded, rsa.RSAPrivateKey):
        return "PS256"
    raise UserError(f"--c2pa-key is of a kind that C2PA does not know; {advice}")


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def _c2pa() -> Any:
    try:
        import c2pa  # pyright: ignore[reportMissingImports]  (an extra)
    except ImportError as error:
        raise UserError("--c2pa-certificate takes a package that is not there: pip install 'ganjax[c2pa]'") from error
    return c2pa


_SMALLEST = (
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"
)
"""A picture of one pixel, on which a certificate is tried."""
