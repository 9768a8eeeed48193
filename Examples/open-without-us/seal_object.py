#!/usr/bin/env python3
"""Seals one layer of an object with stock pyca/cryptography, for check.sh: the other direction of open.py."""
import sys
from cryptography.cobblestone import Cobblestone256Encryptor

header, key, context = (bytes.fromhex(text) for text in sys.argv[1:4])
sealer = Cobblestone256Encryptor(key, context)
content = sys.stdin.buffer.read()
sys.stdout.buffer.write(header + sealer.update(content) + sealer.finalize())
