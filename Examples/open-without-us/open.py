#!/usr/bin/env python3
"""Opens a sealed record or object with stock packages, given the private keys of both KEKs. See README.md."""
import argparse, json, struct, sys
from cryptography.cobblestone import Cobblestone256Decryptor
from cryptography.hazmat.primitives import cmac, hashes
from cryptography.hazmat.primitives.ciphers import algorithms, aead
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from jwcrypto import jwe, jwk
from jwcrypto.common import base64url_encode


def read_kek(path):
    data = open(path, "rb").read()
    if data.startswith(b"-----BEGIN"):
        return jwk.JWK.from_pem(data)
    return jwk.JWK(kty="oct", k=base64url_encode(bytes.fromhex(data.decode().strip())))


def read_root_keys(envelopes, keks, resource):
    keys = {}  # (layer, key id) -> {"R": record key, "O": object key}
    for envelope in envelopes:
        for kek in keks:
            token = jwe.JWE(algs=["RSA-OAEP", "RSA-OAEP-256", "A256KW", "A256GCM"])
            try:
                token.deserialize(json.dumps(envelope), kek)
            except Exception:  # not this KEK's envelope
                continue
            facts = json.loads(token.objects["protected"])
            if facts["kc-res"] == resource.lower():
                derive = lambda label: HKDFExpand(hashes.SHA512(), 32, b"key-custody/v1/" + label).derive(token.payload)
                keys[facts["kc-layer"], derive(b"commitment")[:8]] = {"R": derive(b"record"), "O": derive(b"object")}
    return keys


def field(data):
    return struct.pack(">I", len(data)) + data


def open_layer(sealed, layer, keys, args):
    header, body = sealed[:12], sealed[12:]
    kind = chr(header[2])
    if header[:2] != b"KC" or kind not in "RO" or header[3] != 1:
        sys.exit(f"the {layer} layer is not sealed data of format 1")
    if (layer, header[4:]) not in keys:
        sys.exit(f"no envelope opens to the {layer} layer's root key {header[4:].hex()}")
    key = keys[layer, header[4:]][kind]
    pairs = sorted(tuple(part.encode() for part in text.split("=", 1)) for text in args.identifier)
    names = [header, layer.encode(), args.resource.lower().encode(), args.data_class.lower().encode(), args.object.encode()]
    context = b"key-custody/v1/context" + b"".join(map(field, names)) + struct.pack(">I", len(pairs))
    context += b"".join(field(name) + field(value) for name, value in pairs)
    if kind == "O":  # c2sp.org/chunked-encryption
        opener = Cobblestone256Decryptor(key, context)
        return opener.update(body) + opener.finalize()
    derived = b""  # c2sp.org/XAES-256-GCM
    for counter in (1, 2):
        mac = cmac.CMAC(algorithms.AES(key))
        mac.update(bytes([0, counter]) + b"X\0" + body[:12])
        derived += mac.finalize()
    return aead.AESGCM(derived).decrypt(body[12:24], body[24:], context)


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--kek", action="append", required=True, help="private key: PEM (RSA) or hexadecimal (AES)")
parser.add_argument("--envelopes", required=True, help="JSON array of flattened JWEs")
parser.add_argument("--resource", required=True)
parser.add_argument("--class", dest="data_class", required=True)
parser.add_argument("--object", required=True)
parser.add_argument("--identifier", action="append", default=[], metavar="NAME=VALUE")
parser.add_argument("sealed", metavar="SEALED")
args = parser.parse_args()
keys = read_root_keys(json.load(open(args.envelopes)), [read_kek(path) for path in args.kek], args.resource)
inner = open_layer(open(args.sealed, "rb").read(), "customer", keys, args)
sys.stdout.buffer.write(open_layer(inner, "service", keys, args))
