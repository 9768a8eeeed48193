#!/usr/bin/env python3
"""Wraps a root key in a JWE with stock jwcrypto, for check.sh: KEK and root key in hexadecimal, then the header."""
import sys
from jwcrypto import jwe, jwk
from jwcrypto.common import base64url_encode

kek, root_key, protected = bytes.fromhex(sys.argv[1]), bytes.fromhex(sys.argv[2]), sys.argv[3]
token = jwe.JWE(root_key, protected, algs=["A256KW", "A256GCM"])
token.add_recipient(jwk.JWK(kty="oct", k=base64url_encode(kek)))
print(token.serialize())
