# Keys and tokens as PyJWT and cryptography make them: keys go to files in the folder argv[1], tokens to the output, as JSON.
import base64, json, sys, time
import jwt
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

folder, now = sys.argv[1], int(time.time())
claims = {"iss": "https://id.example.org/", "aud": "mail", "exp": now + 300, "nbf": now, "email": "anna@example.org"}


def b64(number, size):
    return base64.urlsafe_b64encode(number.to_bytes(size, "big")).rstrip(b"=").decode()


def private(key):
    return key.private_bytes(ser.Encoding.PEM, ser.PrivateFormat.PKCS8, ser.NoEncryption())


def public(key):
    return key.public_key().public_bytes(ser.Encoding.PEM, ser.PublicFormat.SubjectPublicKeyInfo)


def rsa_jwk(key, **more):
    n = key.public_key().public_numbers()
    return {"kty": "RSA", "n": b64(n.n, (n.n.bit_length() + 7) // 8), "e": b64(n.e, 3), **more}


def ec_jwk(key, curve, size, **more):
    n = key.public_key().public_numbers()
    return {"kty": "EC", "crv": curve, "x": b64(n.x, size), "y": b64(n.y, size), **more}


def ed_jwk(key, **more):
    x = key.public_key().public_bytes(ser.Encoding.Raw, ser.PublicFormat.Raw)
    return {"kty": "OKP", "crv": "Ed25519", "x": base64.urlsafe_b64encode(x).rstrip(b"=").decode(), **more}


one, two, small = (rsa.generate_private_key(65537, size) for size in (2048, 2048, 1024))
p256, p384, p521 = (ec.generate_private_key(curve()) for curve in (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1))
ed = ed25519.Ed25519PrivateKey.generate()
secret = "a secret of thirty-two octets or more, known to both"

signers = {"p256": (p256, "ES256"), "p384": (p384, "ES384"), "ed": (ed, "EdDSA")}
for name in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"):
    signers[name] = (one, name)

tokens = {}
for kid, (key, alg) in signers.items():
    named = "one" if key is one else kid
    tokens[kid] = jwt.encode(claims, private(key), algorithm=alg, headers={"kid": named})
    tokens[kid + " unnamed"] = jwt.encode(claims, private(key), algorithm=alg)
tokens["HS256"] = jwt.encode(claims, secret, algorithm="HS256")
tokens["two"] = jwt.encode(claims, private(two), algorithm="RS256", headers={"kid": "two"})
tokens["forged kid"] = jwt.encode(claims, private(two), algorithm="RS256", headers={"kid": "one"})
tokens["small"] = jwt.encode(claims, private(small), algorithm="RS256", headers={"kid": "small"})
tokens["p521"] = jwt.encode(claims, private(p521), algorithm="ES512", headers={"kid": "p521"})
tokens["none"] = jwt.encode(claims, None, algorithm="none")
tokens["expired"] = jwt.encode({**claims, "exp": now - 600}, private(one), algorithm="RS256", headers={"kid": "one"})
tokens["crit"] = jwt.encode(claims, private(one), algorithm="RS256", headers={"kid": "one", "crit": ["exp"]})
tokens["other user"] = jwt.encode({**claims, "email": "bert@example.org"}, private(one), algorithm="RS256")
# A public key taken for a secret: PyJWT refuses to do that, so by hand.
import hashlib, hmac
head = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').rstrip(b"=")
body = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=")
mac = hmac.new(public(one), head + b"." + body, hashlib.sha256).digest()
tokens["public as secret"] = (head + b"." + body + b"." + base64.urlsafe_b64encode(mac).rstrip(b"=")).decode()


def write(name, text):
    with open(folder + "/" + name, "wb") as file:
        file.write(text if isinstance(text, bytes) else text.encode())


others = [
    {"kty": "oct", "k": base64.urlsafe_b64encode(secret.encode()).rstrip(b"=").decode(), "kid": "oct"},
    {"kty": "RSA2", "kid": "later"},
    rsa_jwk(two, kid="enc", use="enc"),
    ec_jwk(p521, "P-521", 66, kid="p521"),
    rsa_jwk(small, kid="small"),
]
keys = [rsa_jwk(one, kid="one", use="sig"), ec_jwk(p256, "P-256", 32, kid="p256"), ec_jwk(p384, "P-384", 48, kid="p384"), ed_jwk(ed, kid="ed")]
write("jwks.json", json.dumps({"keys": others + keys}))
write("rotated.json", json.dumps({"keys": [rsa_jwk(two, kid="two", alg="RS256")]}))
write("pinned.json", json.dumps({"keys": [rsa_jwk(one, kid="one", alg="PS256")]}))
write("useless.json", json.dumps({"keys": others[:3]}))
write("all.pem", b"these are public\n" + public(one) + b"\n" + public(p256) + public(p384) + public(ed))
write("private.pem", private(one))
write("private.json", json.dumps({"keys": [ed_jwk(ed, d="x")]}))
write("hmac.secret", secret + "\n")
write("short.secret", "short\n")
json.dump(tokens, sys.stdout)
