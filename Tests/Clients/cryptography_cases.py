"""What keys do, by the SDK: here with the public key where it can, at the server where it must."""

import datetime
import hashlib
import warnings

from azure.keyvault.keys import KeyClient
from azure.keyvault.keys.crypto import (
    CryptographyClient, EncryptionAlgorithm, KeyWrapAlgorithm, SignatureAlgorithm)

from deployment import ClientTest, b64, unb64
from key_cases import KeyCases

HASHES = {"256": hashlib.sha256, "384": hashlib.sha384, "512": hashlib.sha512}
# The SDK does these here with the public key only where the algorithm is its own enumeration's.
OAEP = [KeyWrapAlgorithm.rsa_oaep, KeyWrapAlgorithm.rsa_oaep_256]


class CryptographyCases(ClientTest):
    setUp = KeyCases.setUp
    tearDown = KeyCases.tearDown

    def crypto(self, key):
        return CryptographyClient(key, self.credential)

    def test_wrap(self):
        crypto = self.crypto(self.keys.create_rsa_key("wrapping", size=2048))
        for algorithm in OAEP:
            for size in (16, 32, 64):
                secret = bytes(range(size))
                here = crypto.wrap_key(algorithm, secret)
                there = crypto.wrap_key(str(algorithm.value), secret)
                self.holds(len(here.encrypted_key) == len(there.encrypted_key) == 256)
                for wrapped in (here, there):
                    self.same(crypto.unwrap_key(algorithm, wrapped.encrypted_key).key, secret)
                self.same(there.key_id, crypto.key_id, "the answer names the version")
        other = crypto.wrap_key(OAEP[0], b"k" * 32)
        self.refused(400, "BadParameter", None, crypto.unwrap_key, OAEP[1], other.encrypted_key)

    def test_versionless(self):
        first = self.keys.create_rsa_key("versionless", size=2048)
        crypto = self.crypto(f"{self.deployment.url()}/keys/versionless")
        wrapped = crypto.wrap_key("RSA-OAEP", b"k" * 32)
        self.same(wrapped.key_id, first.id)
        self.same(crypto.unwrap_key("RSA-OAEP", wrapped.encrypted_key).key_id, first.id)

    def test_encrypt(self):
        crypto = self.crypto(self.keys.create_rsa_key("encrypting", size=3072))
        for algorithm in (EncryptionAlgorithm.rsa_oaep, EncryptionAlgorithm.rsa_oaep_256):
            for text in (b"", b"hello", b"x" * 100):
                here = crypto.encrypt(algorithm, text).ciphertext
                self.same(crypto.decrypt(algorithm, here).plaintext, text)
            for text in (b"x" * 16, b"x" * 64):  # what every key provider takes
                there = crypto.encrypt(str(algorithm.value), text).ciphertext
                self.same(crypto.decrypt(algorithm, there).plaintext, text)

    def test_aes_key_wrap(self):
        crypto = self.crypto(self.keys.create_oct_key("aes", size=256))
        for size in (16, 24, 32):
            wrapped = crypto.wrap_key(KeyWrapAlgorithm.aes_256, b"k" * size)
            self.same(len(wrapped.encrypted_key), size + 8)
            self.same(crypto.unwrap_key(KeyWrapAlgorithm.aes_256, wrapped.encrypted_key).key, b"k" * size)
        self.refused(400, "BadParameter", None, crypto.wrap_key, KeyWrapAlgorithm.aes_256, b"k" * 20)
        self.refused(400, "BadParameter", None, crypto.unwrap_key, KeyWrapAlgorithm.aes_256, b"k" * 40)

    def test_sign(self):
        keys = {"RS": self.keys.create_rsa_key("signing", size=2048)}
        keys["PS"] = keys["RS"]
        curves = {"256": "P-256", "384": "P-384", "512": "P-521"}
        for kind in ("RS", "PS", "ES"):
            for bits, algorithm in HASHES.items():
                key = keys.get(kind) or self.keys.create_ec_key("signing-" + bits, curve=curves[bits])
                name = SignatureAlgorithm(kind + bits)
                crypto = self.crypto(key)
                digest = algorithm(b"message").digest()
                signature = crypto.sign(name, digest).signature
                self.same(len(signature), {"ES256": 64, "ES384": 96, "ES512": 132}.get(name.value, 256))
                for asked in (name, name.value):  # here, and at the server
                    self.same(crypto.verify(asked, digest, signature).is_valid, True, asked)
                    self.same(crypto.verify(asked, algorithm(b"other").digest(), signature).is_valid, False, asked)
                path = f"/keys/{key.name}/{key.properties.version}/verify"
                body = {"alg": name.value, "digest": b64(digest), "value": b64(signature)}
                self.same(self.deployment.call("POST", path, body).json, {"value": True})
                body["value"] = b64(signature[:-1] + bytes([signature[-1] ^ 1]))
                self.same(self.deployment.call("POST", path, body).json, {"value": False})

    def test_key_operations(self):
        key = self.keys.create_rsa_key("narrow", size=2048, key_operations=["unwrapKey", "wrapKey"])
        crypto = self.crypto(key)
        digest = hashlib.sha256(b"").digest()
        error = self.refused(403, "Forbidden", "KeyOperationForbidden", crypto.sign, SignatureAlgorithm.ps256, digest)
        self.holds("sign" in error.error.message)
        self.refused(
            403, "Forbidden", "KeyOperationForbidden", crypto.decrypt, EncryptionAlgorithm.rsa_oaep, b"0" * 256)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.refused(
                403, "Forbidden", "KeyOperationForbidden", crypto.encrypt, EncryptionAlgorithm.rsa_oaep, b"hello")
        self.same(crypto.unwrap_key(OAEP[0], crypto.wrap_key(OAEP[0], b"k" * 32).encrypted_key).key, b"k" * 32)

    def test_disabled(self):
        key = self.keys.create_rsa_key("switched", size=2048)
        crypto = self.crypto(key)
        wrapped = crypto.wrap_key(OAEP[0], b"k" * 32).encrypted_key
        signature = crypto.sign(SignatureAlgorithm.ps256, b"d" * 32).signature
        self.keys.update_key_properties("switched", enabled=False)
        self.refused(403, "Forbidden", "KeyDisabled", crypto.unwrap_key, OAEP[0], wrapped)
        self.refused(403, "Forbidden", "KeyDisabled", crypto.decrypt, EncryptionAlgorithm.rsa_oaep, wrapped)
        self.refused(403, "Forbidden", "KeyDisabled", crypto.sign, SignatureAlgorithm.ps256, b"d" * 32)
        self.refused(403, "Forbidden", "KeyDisabled", crypto.wrap_key, "RSA-OAEP", b"k" * 32)
        self.refused(403, "Forbidden", "KeyDisabled", crypto.encrypt, "RSA-OAEP", b"k" * 32)
        self.refused(403, "Forbidden", "KeyDisabled", crypto.verify, "PS256", b"d" * 32, signature)
        self.keys.update_key_properties("switched", enabled=True)
        self.same(crypto.unwrap_key(OAEP[0], wrapped).key, b"k" * 32)

    def test_validity(self):
        key = self.keys.create_rsa_key("dated", size=2048)
        path = f"/keys/dated/{key.properties.version}/"
        digest, value = b64(b"d" * 32), b64(b"k" * 32)
        call = self.deployment.call
        wrapped = call("POST", path + "wrapkey", {"alg": "RSA-OAEP", "value": value}).json["value"]
        signature = call("POST", path + "sign", {"alg": "PS256", "value": digest}).json["value"]
        past = datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc)
        future = datetime.datetime(2040, 1, 1, tzinfo=datetime.timezone.utc)
        for named in ({"expires_on": past}, {"not_before": future, "expires_on": future.replace(year=2041)}):
            self.keys.update_key_properties("dated", **named)
            self.same(self.keys.get_key("dated").name, "dated", "it is shown")
            for operation, body in (("wrapkey", {"alg": "RSA-OAEP", "value": value}),
                                    ("encrypt", {"alg": "RSA-OAEP", "value": value}),
                                    ("sign", {"alg": "PS256", "value": digest})):
                answer = call("POST", path + operation, body)
                self.same(answer.error[:2], (403, "Forbidden"), (operation, named, answer))
            for operation in ("unwrapkey", "decrypt"):
                answer = call("POST", path + operation, {"alg": "RSA-OAEP", "value": wrapped})
                self.same(unb64(answer.json.get("value", "")), b"k" * 32, (operation, named, answer))
            answer = call("POST", path + "verify", {"alg": "PS256", "digest": digest, "value": signature})
            self.same(answer.json, {"value": True}, named)

    def test_reader_without_keys_get(self):
        """A client that may use a key but not read it does all at the server."""
        self.keys.create_rsa_key("blind", size=2048)
        made = self.deployment.manage("identity", "create", "blind")
        self.deployment.manage("policy", "set", "main", "blind", "--keys", "wrapKey,unwrapKey")
        with self.deployment.credential("blind", made["clientSecret"]) as credential:
            crypto = CryptographyClient(f"{self.deployment.url()}/keys/blind", credential)
            wrapped = crypto.wrap_key(OAEP[1], b"k" * 32)
            self.same(crypto.unwrap_key(OAEP[1], wrapped.encrypted_key).key, b"k" * 32)
            self.refused(403, "Forbidden", "ForbiddenByPolicy", crypto.sign, SignatureAlgorithm.ps256, b"d" * 32)
        with KeyClient(self.deployment.url(), self.deployment.credential("blind", made["clientSecret"])) as keys:
            self.refused(403, "Forbidden", "ForbiddenByPolicy", keys.get_key, "blind")
