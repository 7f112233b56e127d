"""A chain of certificates, made for a test: an authority, and a signer whom it vouches for."""

import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

BEGIN, END = datetime.datetime(2026, 1, 1), datetime.datetime(2036, 1, 1)
USES = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
USES += ("key_cert_sign", "crl_sign", "encipher_only", "decipher_only")


def certificate(subject: str, issuer: str, key, signing_key, *, authority: bool) -> x509.Certificate:
    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(kind, text) for kind in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME)])

    builder = x509.CertificateBuilder(name(issuer), name(subject), key.public_key(), 1 + authority, BEGIN, END)
    builder = builder.add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    uses = ("key_cert_sign", "crl_sign") if authority else ("digital_signature",)
    builder = builder.add_extension(x509.KeyUsage(**{use: use in uses for use in USES}), critical=True)
    if not authority:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
    authority_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(signing_key.public_key())
    builder = builder.add_extension(authority_key, critical=False)
    own_key = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return builder.add_extension(own_key, critical=False).sign(signing_key, hashes.SHA256())


def write_chain(folder: Path) -> tuple[Path, Path]:
    """The files of a chain and of the signer's key."""
    above, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    pem, kind = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    chain = [
        certificate("A studio", "An authority", key, above, authority=False),
        certificate("An authority", "An authority", above, above, authority=True),
    ]
    (folder / "chain.pem").write_bytes(b"".join(found.public_bytes(pem) for found in chain))
    (folder / "key.pem").write_bytes(key.private_bytes(pem, kind, serialization.NoEncryption()))
    return folder / "chain.pem", folder / "key.pem"
