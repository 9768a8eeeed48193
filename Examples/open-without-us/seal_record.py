#!/usr/bin/env python3
"""Seals one layer of a record with stock pyca/cryptography (XAES-256-GCM, c2sp.org), for check.sh."""
import os, sys
from cryptography.hazmat.primitives import cmac
from cryptography.hazmat.primitives.ciphers import algorithms, aead

header, key, context = (bytes.fromhex(text) for text in sys.argv[1:4])
nonce, derived = os.urandom(24), b""
for counter in (1, 2):
    mac = cmac.CMAC(algorithms.AES(key))
    mac.update(bytes([0, counter]) + b"X\0" + nonce[:12])
    derived += mac.finalize()
sealed = aead.AESGCM(derived).encrypt(nonce[12:], sys.stdin.buffer.read(), context)
sys.stdout.buffer.write(header + nonce + sealed)
