"""MongoDB's client-side field level encryption: libmongocrypt itself speaks to the token endpoint and the vault."""

import socket

import bson
from azure.keyvault.keys import KeyClient
from pymongocrypt.errors import MongoCryptError
from pymongocrypt.explicit_encrypter import ExplicitEncrypter
from pymongocrypt.mongocrypt import MongoCryptOptions
from pymongocrypt.state_machine import MongoCryptCallback

from deployment import ClientTest, DOMAIN

ALGORITHM = "AEAD_AES_256_CBC_HMAC_SHA_512-Deterministic"


class Callback(MongoCryptCallback):
    """What a driver does: carries requests over TLS, and keeps data keys, here in a dictionary."""

    def __init__(self, deployment):
        self.deployment = deployment
        self.data_keys = {}
        self.said = []

    def kms_request(self, kms_context):
        host, _, port = kms_context.endpoint.partition(":")
        self.said.append(bytes(kms_context.message).split(b"\r\n")[0])
        with socket.create_connection((host, int(port or 443)), timeout=20) as plain:
            with self.deployment.context.wrap_socket(plain, server_hostname=host) as channel:
                channel.sendall(kms_context.message)
                while (needed := kms_context.bytes_needed) > 0:
                    data = channel.recv(needed)
                    if not data:
                        raise OSError("the server hung up")
                    kms_context.feed(data)

    def fetch_keys(self, filter):
        wanted = bson.decode(filter).get("$or", [{}])[0].get("_id", {}).get("$in")
        return iter([bson.encode(key) for name, key in self.data_keys.items()
                     if wanted is None or name in map(bytes, wanted)])

    def insert_data_key(self, data_key):
        document = bson.decode(data_key)
        self.data_keys[bytes(document["_id"])] = document
        return bytes(document["_id"])

    def bson_encode(self, doc):
        return bson.encode(doc)

    def collection_info(self, database, filter):
        raise NotImplementedError

    def mark_command(self, database, cmd):
        raise NotImplementedError

    def close(self):
        pass


class MongoCases(ClientTest):
    def encrypter(self, callback, client=None, secret=None):
        boot = self.deployment.bootstrap
        options = MongoCryptOptions({"azure": {
            "tenantId": boot["tenant"], "clientId": client or boot["clientID"],
            "clientSecret": secret or boot["clientSecret"],
            "identityPlatformEndpoint": f"login.{DOMAIN}:{self.deployment.port}"}})
        return ExplicitEncrypter(callback, options)

    def test_fields(self):
        host = f"main.{DOMAIN}:{self.deployment.port}"
        with self.deployment.credential() as credential, KeyClient(self.deployment.url(), credential) as keys:
            first = keys.create_rsa_key("mongo", size=2048)
            made = self.deployment.manage("identity", "create", "mongo")
            self.deployment.manage("policy", "set", "main", "mongo", "--keys", "wrapKey,unwrapKey")
            callback = Callback(self.deployment)
            encrypter = self.encrypter(callback, "mongo", made["clientSecret"])
            data_key = encrypter.create_data_key("azure", {"keyVaultEndpoint": host, "keyName": "mongo"})
            self.holds(any(b"/keys/mongo//wrapkey?" in line for line in callback.said), callback.said)
            pinned = encrypter.create_data_key(
                "azure", {"keyVaultEndpoint": host, "keyName": "mongo", "keyVersion": first.properties.version})
            self.holds(any(first.properties.version.encode() in line for line in callback.said), callback.said)
            value = bson.encode({"v": "a secret of someone"})
            sealed = encrypter.encrypt(value, ALGORITHM, data_key)
            self.holds(b"a secret" not in sealed)

            fresh = self.encrypter(callback, "mongo", made["clientSecret"])  # nothing cached
            self.same(bson.decode(fresh.decrypt(sealed)), {"v": "a secret of someone"})
            self.holds(any(b"/unwrapkey?" in line for line in callback.said), callback.said)
            other = fresh.encrypt(value, ALGORITHM, pinned)
            self.same(bson.decode(self.encrypter(callback).decrypt(other)), {"v": "a secret of someone"})

            keys.rotate_key("mongo")
            del callback.data_keys[pinned]
            answer = bson.decode(fresh.rewrap_many_data_key(
                {}, "azure", {"keyVaultEndpoint": host, "keyName": "mongo"}))
            self.same(len(answer["v"]), 1)
            callback.data_keys[data_key].update(
                keyMaterial=answer["v"][0]["keyMaterial"], masterKey=answer["v"][0]["masterKey"])
            again = self.encrypter(callback, "mongo", made["clientSecret"])
            self.same(bson.decode(again.decrypt(sealed)), {"v": "a secret of someone"}, "wrapped anew")

            self.deployment.manage("policy", "delete", "main", "mongo")
            with self.assertRaises(MongoCryptError) as raised:
                self.encrypter(callback, "mongo", made["clientSecret"]).decrypt(sealed)
            self.holds("403" in str(raised.exception), raised.exception)
            with self.assertRaises(MongoCryptError) as raised:
                self.encrypter(callback, "mongo", "wrong").decrypt(sealed)
            self.holds("invalid_client" in str(raised.exception) or "401" in str(raised.exception), raised.exception)
