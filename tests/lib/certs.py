# SPDX-License-Identifier: Apache-2.0
"""A certificate authority of the tests' own, and certificates of it, right or wrong."""
import datetime
import hashlib
import os

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)


class Authority:
    def __init__(self, folder, name="Test CA"):
        self.folder, self.count = folder, 0
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.datetime.utcnow()
        self.cert = (x509.CertificateBuilder().subject_name(self.name).issuer_name(self.name)
                     .public_key(self.key.public_key()).serial_number(1)
                     .not_valid_before(now - DAY).not_valid_after(now + 30 * DAY)
                     .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
                     .sign(self.key, hashes.SHA256()))
        self.file = self._write("ca%d.pem" % id(self), self.cert.public_bytes(
            serialization.Encoding.PEM))

    def _write(self, name, data):
        path = os.path.join(self.folder, name)
        with open(path, "wb") as f:
            f.write(data)
        return path

    def issue(self, *names, begin=-1, end=20, file=None, chain=False):
        """(certificate file, key file) for these DNS names, valid from `begin` to `end` days
        from now; written over `file` when that is given; `chain`: our own behind it."""
        self.count += 1
        base = file or "cert%d-%d" % (id(self), self.count)
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.utcnow()
        cert = (x509.CertificateBuilder()
                .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])]))
                .issuer_name(self.name).public_key(key.public_key())
                .serial_number(x509.random_serial_number())
                .not_valid_before(now + begin * DAY).not_valid_after(now + end * DAY)
                .add_extension(x509.SubjectAlternativeName(
                    [x509.DNSName(n) for n in names]), False)
                .sign(self.key, hashes.SHA256()))
        pem = cert.public_bytes(serialization.Encoding.PEM)
        if chain:
            pem += self.cert.public_bytes(serialization.Encoding.PEM)
        files = (self._write(base + ".crt", pem),
                 self._write(base + ".key", key.private_bytes(
                     serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                     serialization.NoEncryption())))
        os.chmod(files[1], 0o600)
        return files


def tlsa(cert_file, usage=3):
    """A TLSA record of selector 1, matching 1 for the key of that certificate."""
    with open(cert_file, "rb") as f:
        cert = x509.load_pem_x509_certificate(f.read())
    der = cert.public_key().public_bytes(serialization.Encoding.DER,
                                         serialization.PublicFormat.SubjectPublicKeyInfo)
    return "%d 1 1 %s" % (usage, hashlib.sha256(der).hexdigest())
