"""Makes the samples beside it from the written constructions, by another implementation (Python's cryptography).

    openssl req -x509 -newkey rsa:2048 -nodes -keyout client.key -out client.pem -days 36500 -subj /O=Example/CN=client
    python3 make.py client.key

They are made once: the tests hold that what the first release sealed opens for ever.
"""
import base64, hashlib, hmac, json, pathlib, struct, sys
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

here = pathlib.Path(__file__).parent


def seeded(seed, count):
    """base::SeededChance"""
    mask, out = 2**64 - 1, b""
    while len(out) < count:
        seed = (seed + 0x9E3779B97F4A7C15) & mask
        z = seed
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & mask
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB & mask
        out += struct.pack("<Q", z ^ (z >> 31))
    return out[:count]


def bind(*fields):
    return b"".join(struct.pack(">Q", len(f)) + f for f in fields)


root = hmac.new(b"bleu seal key 1", seeded(1, 32), hashlib.sha256).digest()


def cipher(purpose, salt):
    return AESGCM(HKDFExpand(hashes.SHA256(), 32, bind(purpose, salt)).derive(root))


salt, nonce = bytes(range(16)), bytes(range(100, 112))
record = b"\x01" + salt + nonce + cipher(b"record", salt).encrypt(nonce, b"the plain text of a record", b"address")
(here / "record-1.hex").write_text(record.hex() + "\n")

text, chunk_id = b"content of a blob", bytes([9] * 16)
aad = bind(b"aad") + chunk_id + struct.pack(">Q", 0) + b"\x01" + struct.pack(">Q", len(text))
(here / "chunk-1.hex").write_text(cipher(b"frame", chunk_id).encrypt(bytes(12), text, aad).hex() + "\n")

key = serialization.load_pem_private_key(pathlib.Path(sys.argv[1]).read_bytes(), None)
der = x509.load_pem_x509_certificate((here / "client.pem").read_bytes()).public_bytes(serialization.Encoding.DER)
url = lambda b: base64.urlsafe_b64encode(b).rstrip(b"=").decode()
claims = {"aud": "https://login.bleu.localhost/adfs/oauth2/token", "iss": "client", "sub": "client", "jti": "1", "nbf": 1795508032, "exp": 1795508632}
rs256 = {"alg": "RS256", "typ": "JWT", "x5t": url(hashlib.sha1(der).digest())}
ps256 = {"alg": "PS256", "typ": "JWT", "x5t#S256": url(hashlib.sha256(der).digest())}
unnamed = {"alg": "RS256", "typ": "JWT"}
pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
for name, header, scheme in [("rs256", rs256, padding.PKCS1v15()), ("ps256", ps256, pss), ("unnamed", unnamed, padding.PKCS1v15())]:
    signed = url(json.dumps(header).encode()) + "." + url(json.dumps(claims).encode())
    (here / f"assertion-{name}.jwt").write_text(signed + "." + url(key.sign(signed.encode(), scheme, hashes.SHA256())) + "\n")
