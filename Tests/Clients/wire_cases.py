"""The wire itself, by raw HTTPS: what other clients write, and every error by status, code and inner code."""

import http.client
import re
import socket
import time

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from deployment import API, ClientTest, b64, unb64
from key_cases import number

NAME = "wire"
SIGN = "/keys/wire/sign"
ENCRYPT = "/keys/wire/encrypt"
RSA = {"kty": "RSA", "key_size": 2048}


def jwk(**changes):
    """An RSA key as JSON, with members changed or, where `None`, left out."""
    p = rsa.generate_private_key(65537, 2048).private_numbers()
    found = {"kty": "RSA", "n": p.public_numbers.n, "e": p.public_numbers.e, "d": p.d, "p": p.p, "q": p.q,
             "dp": p.dmp1, "dq": p.dmq1, "qi": p.iqmp}
    found = {name: b64(number(value)) if isinstance(value, int) else value for name, value in found.items()}
    found.update(changes)
    return {name: value for name, value in found.items() if value is not None}


def rows():
    """Each: what, method, path, body, status, code, inner code, and what the message says."""
    bad = (400, "BadParameter", None)
    value = b64(b"k" * 32)
    good = {"alg": "RSA-OAEP", "value": value}
    deleted = (409, "Conflict", "ObjectIsDeletedButRecoverable")
    off = (403, "Forbidden", "KeyDisabled")
    forbidden = (403, "Forbidden", "KeyOperationForbidden")
    yield from [
        ("unknown key", "GET", "/keys/none", None, 404, "KeyNotFound", None, ""),
        ("unknown version", "GET", f"/keys/wire/{'0' * 32}", None, 404, "KeyNotFound", None, ""),
        ("what is no version", "GET", "/keys/wire/x", None, 404, "KeyNotFound", None, ""),
        ("use of an unknown key", "POST", "/keys/none/sign", {"alg": "PS256", "value": value}, 404, "KeyNotFound",
         None, ""),
        ("use of an unknown version", "POST", f"/keys/wire/{'0' * 32}/wrapkey", good, 404, "KeyNotFound", None, ""),
        ("change of an unknown key", "PATCH", "/keys/none", {}, 404, "KeyNotFound", None, ""),
        ("rotation of an unknown key", "POST", "/keys/none/rotate", None, 404, "KeyNotFound", None, ""),
        ("backup of an unknown key", "POST", "/keys/none/backup", None, 404, "KeyNotFound", None, ""),
        ("deletion of an unknown key", "DELETE", "/keys/none", None, 404, "KeyNotFound", None, ""),
        ("recovery of an unknown key", "POST", "/deletedkeys/none/recover", None, 404, "KeyNotFound", None, ""),
        ("recovery of a key that is not deleted", "POST", "/deletedkeys/wire/recover", None, 404, "KeyNotFound",
         None, ""),
        ("rotation policy of an unknown key", "GET", "/keys/none/rotationpolicy", None, 404, "KeyNotFound", None, ""),
        ("unknown secret", "GET", "/secrets/none", None, 404, "SecretNotFound", None, ""),
        ("unknown version of a secret", "GET", f"/secrets/wire/{'0' * 32}", None, 404, "SecretNotFound", None, ""),
        ("deletion of an unknown secret", "DELETE", "/secrets/none", None, 404, "SecretNotFound", None, ""),
        ("deleted key", "GET", "/keys/wire-deleted", None, 404, "KeyNotFound", None, ""),
        ("use of a deleted key", "POST", "/keys/wire-deleted/wrapkey", good, 404, "KeyNotFound", None, ""),
        ("creation over a deleted key", "POST", "/keys/wire-deleted/create", RSA, *deleted, ""),
        ("import over a deleted key", "PUT", "/keys/wire-deleted", {"key": jwk()}, *deleted, ""),
        ("deleted secret", "GET", "/secrets/wire-deleted", None, 404, "SecretNotFound", None, ""),
        ("secret over a deleted one", "PUT", "/secrets/wire-deleted", {"value": "x"}, *deleted, ""),
        ("disabled: unwrapKey", "POST", "/keys/wire-off/unwrapkey", good, *off, "not allowed|disabled"),
        ("disabled: decrypt", "POST", "/keys/wire-off/decrypt", good, *off, ""),
        ("disabled: sign", "POST", "/keys/wire-off/sign", {"alg": "PS256", "value": value}, *off, ""),
        ("disabled: wrapKey", "POST", "/keys/wire-off/wrapkey", good, *off, ""),
        ("disabled: encrypt", "POST", "/keys/wire-off/encrypt", good, *off, ""),
        ("disabled: verify", "POST", "/keys/wire-off/verify",
         {"alg": "PS256", "digest": value, "value": b64(bytes(256))}, *off, ""),
        ("disabled secret", "GET", "/secrets/wire-off", None, 403, "Forbidden", "SecretDisabled", ""),
        ("not in key_ops: decrypt", "POST", "/keys/wire-narrow/decrypt", good, *forbidden, "decrypt"),
        ("not in key_ops: sign", "POST", "/keys/wire-narrow/sign", {"alg": "PS256", "value": value}, *forbidden,
         "sign"),
        ("expired: wrapKey", "POST", "/keys/wire-late/wrapkey", good, 403, "Forbidden", ..., ""),
        ("expired: encrypt", "POST", "/keys/wire-late/encrypt", good, 403, "Forbidden", ..., ""),
        ("expired: sign", "POST", "/keys/wire-late/sign", {"alg": "PS256", "value": value}, 403, "Forbidden", ..., ""),
        ("not base64url", "POST", ENCRYPT, {"alg": "RSA-OAEP", "value": "a+b/"}, *bad, "'value' is not base64url"),
        ("value missing", "POST", ENCRYPT, {"alg": "RSA-OAEP"}, *bad, ""),
        ("value of another type", "POST", ENCRYPT, {"alg": "RSA-OAEP", "value": 7}, *bad, ""),
        ("bad name", "GET", "/keys/a_b", None, *bad, "The request URI contains an invalid name: "),
        ("bad name of a secret", "GET", "/secrets/a.b", None, *bad, "The request URI contains an invalid name: "),
        ("long name", "POST", "/keys/" + "a" * 128 + "/create", RSA, *bad, "invalid name"),
        ("unknown alg", "POST", ENCRYPT, {"alg": "XYZ", "value": value}, *bad, ""),
        ("alg of another type of key", "POST", "/keys/wire/wrapkey", {"alg": "A256KW", "value": value}, *bad, ""),
        ("alg that is not offered", "POST", ENCRYPT, {"alg": "RSA1_5", "value": value}, *bad, ""),
        ("signature alg of another type", "POST", SIGN, {"alg": "ES256", "value": value}, *bad, ""),
        ("alg missing", "POST", SIGN, {"value": value}, *bad, ""),
        ("alg of another curve", "POST", "/keys/wire-ec/sign", {"alg": "ES384", "value": b64(bytes(48))}, *bad, ""),
        ("wrapping by an EC key", "POST", "/keys/wire-ec/wrapkey", good, *forbidden, ""),
        ("unknown kty", "POST", "/keys/new/create", {"kty": "XYZ"}, *bad, ""),
        ("kty missing", "POST", "/keys/new/create", {}, *bad, ""),
        ("no body", "POST", "/keys/new/create", None, *bad, ""),
        ("unknown crv", "POST", "/keys/new/create", {"kty": "EC", "crv": "P-1"}, *bad, ""),
        ("key_size 1024", "POST", "/keys/new/create", {"kty": "RSA", "key_size": 1024}, *bad, ""),
        ("key_size 2049", "POST", "/keys/new/create", {"kty": "RSA", "key_size": 2049}, *bad, ""),
        ("key_size as text", "POST", "/keys/new/create", {"kty": "RSA", "key_size": "2048"}, *bad, ""),
        ("unknown key_ops", "POST", "/keys/new/create", {**RSA, "key_ops": ["fly"]}, *bad, ""),
        ("operation that the type lacks", "POST", "/keys/new/create", {"kty": "EC", "key_ops": ["encrypt"]}, *bad, ""),
        ("sixteen tags", "POST", "/keys/new/create", {**RSA, "tags": {str(i): "" for i in range(16)}}, *bad, ""),
        ("long tag", "POST", "/keys/new/create", {**RSA, "tags": {"a": "b" * 257}}, *bad, ""),
        ("tag that is no text", "POST", "/keys/new/create", {**RSA, "tags": {"a": 1}}, *bad, ""),
        ("exp as text", "POST", "/keys/new/create", {**RSA, "attributes": {"exp": "2030"}}, *bad, ""),
        ("nbf below zero", "POST", "/keys/new/create", {**RSA, "attributes": {"nbf": -1}}, *bad, ""),
        ("enabled as text", "POST", "/keys/new/create", {**RSA, "attributes": {"enabled": "yes"}}, *bad, ""),
        ("exportable", "POST", "/keys/new/create", {**RSA, "attributes": {"exportable": True}}, *bad, ""),
        ("not JSON", "POST", "/keys/new/create", "{", *bad, ""),
        ("a list", "POST", "/keys/new/create", "[]", *bad, ""),
        ("a name twice", "POST", "/keys/new/create", '{"kty":"RSA","kty":"EC"}', *bad, ""),
        ("import without a key", "PUT", "/keys/new", {}, *bad, ""),
        ("import without d", "PUT", "/keys/new", {"key": jwk(d=None)}, *bad, ""),
        ("import with another prime", "PUT", "/keys/new", {"key": jwk(p=jwk()["p"])}, *bad, ""),
        ("import off the curve", "PUT", "/keys/new",
         {"key": {"kty": "EC", "crv": "P-256", "x": value, "y": value, "d": value}}, *bad, ""),
        ("what does not decrypt", "POST", "/keys/wire/decrypt", {"alg": "RSA-OAEP", "value": b64(bytes(256))}, *bad,
         ""),
        ("what does not unwrap", "POST", "/keys/wire/unwrapkey", {"alg": "RSA-OAEP-256", "value": value}, *bad, ""),
        ("plaintext too long", "POST", ENCRYPT, {"alg": "RSA-OAEP", "value": b64(bytes(215))}, *bad, ""),
        ("plaintext too long by one hash", "POST", ENCRYPT, {"alg": "RSA-OAEP-256", "value": b64(bytes(191))}, *bad,
         ""),
        ("digest too short", "POST", SIGN, {"alg": "PS256", "value": b64(bytes(31))}, *bad, "length"),
        ("digest of another hash", "POST", SIGN, {"alg": "RS512", "value": value}, *bad, "length"),
        ("digest empty", "POST", SIGN, {"alg": "RS256", "value": ""}, *bad, ""),
        ("verify without a digest", "POST", "/keys/wire/verify", {"alg": "RS256", "value": value}, *bad, ""),
        ("garbage backup", "POST", "/keys/restore", {"value": value}, *bad, ""),
        ("garbage backup of a secret", "POST", "/secrets/restore", {"value": value}, *bad, ""),
        ("secret too long", "PUT", "/secrets/new", {"value": "x" * 25_601}, *bad, ""),
        ("secret without a value", "PUT", "/secrets/new", {}, *bad, ""),
        ("secret that is no text", "PUT", "/secrets/new", {"value": 7}, *bad, ""),
        ("page of none", "GET", "/keys?maxresults=0", None, *bad, ""),
        ("page of 26", "GET", "/secrets?maxresults=26", None, *bad, ""),
        ("made-up skiptoken", "GET", "/keys?$skiptoken=%00%00", None, *bad, ""),
        ("rotation action unknown", "PUT", "/keys/wire/rotationpolicy",
         {"lifetimeActions": [{"trigger": {"timeAfterCreate": "P30D"}, "action": {"type": "Burn"}}]}, *bad, ""),
        ("rotation period unreadable", "PUT", "/keys/wire/rotationpolicy",
         {"lifetimeActions": [{"trigger": {"timeAfterCreate": "soon"}, "action": {"type": "Rotate"}}]}, *bad, ""),
        ("no such address", "GET", "/nothing", None, 404, ..., None, ""),
        ("no such operation", "POST", "/keys/wire/fly", {}, 404, ..., None, ""),
    ]


class ErrorTable(ClientTest):
    def setUp(self):
        call = self.deployment.call
        if getattr(self.deployment, "has_wire", False):
            return
        self.deployment.has_wire = True
        for name, more in ((NAME, {}), ("wire-off", {}), ("wire-narrow", {"key_ops": ["wrapKey", "unwrapKey"]}),
                           ("wire-late", {"attributes": {"exp": int(time.time()) - 60}}), ("wire-deleted", {})):
            self.assertEqual(call("POST", f"/keys/{name}/create", {**RSA, **more}).status, 200)
        self.assertEqual(call("POST", "/keys/wire-ec/create", {"kty": "EC"}).status, 200)
        self.assertEqual(call("PATCH", "/keys/wire-off", {"attributes": {"enabled": False}}).status, 200)
        self.assertEqual(call("DELETE", "/keys/wire-deleted").status, 200)
        for name in ("wire", "wire-off", "wire-deleted"):
            self.assertEqual(call("PUT", f"/secrets/{name}", {"value": "x"}).status, 200)
        self.assertEqual(call("PATCH", "/secrets/wire-off", {"attributes": {"enabled": False}}).status, 200)
        self.assertEqual(call("DELETE", "/secrets/wire-deleted").status, 200)

    def test_table(self):
        for what, method, path, body, status, code, inner, message in rows():
            with self.subTest(what):
                answer = self.deployment.call(method, path, body)
                found = answer.error
                wanted = tuple(f if w is ... else w for f, w in zip(found, (status, code, inner)))
                self.same(found, wanted, f"{method} {path} {str(body)[:200]} -> {answer}")
                self.holds(re.search(message, answer.json["error"]["message"]), (what, answer))
                self.holds(answer.headers["Content-Type"].startswith("application/json"), what)
                self.holds(answer.headers["x-ms-request-id"], what)
        self.same(self.deployment.call("GET", "/keys/new").status, 404, "nothing refused made a key")

    def test_not_errors(self):
        call = self.deployment.call
        for path in ("/keys/wire-off", "/keys/wire-late", "/keys/wire/", "/deletedkeys/wire-deleted", "/secrets/wire/"):
            self.same(call("GET", path).status, 200, path)
        for path in ("/keys/none/versions", "/secrets/none/versions"):
            self.same(call("GET", path).json, {"value": [], "nextLink": None}, path)
        answer = call("DELETE", "/deletedkeys/none")
        self.same(answer.error, (404, "KeyNotFound", None))

    def test_api_version(self):
        token = self.deployment.token()
        for path in ("/keys/wire", "/keys/wire?api-version="):
            answer = self.deployment.request("GET", path, token=token)
            self.same(answer.error, (400, "BadParameter", None), answer)
        answer = self.deployment.request("GET", "/keys/wire?api-version=1.2", token=token)
        self.same(answer.error, (400, "BadParameter", None))
        self.holds(r"The specified version (1.2) is not recognized" in answer.json["error"]["message"])
        for version in ("2016-10-01 7.0 7.1 7.2 7.3 7.4 7.5 7.6 7.6-preview.2 2025-06-01-preview 2025-07-01 "
                        "2026-01-01-preview 2026-04-01").split():
            self.same(self.deployment.request("GET", f"/keys/wire?api-version={version}", token=token).status, 200)

    def test_before_anything_else_a_token(self):
        for method, path, body in (("POST", "/keys/wire/create", b""), ("GET", "/keys/none", None),
                                   ("POST", "/keys/a_b/sign", b"{"), ("GET", "/nothing", None), ("GET", "/keys", None),
                                   ("DELETE", "/deletedsecrets/x", None), ("PUT", "/secrets/x", b"{}")):
            answer = self.deployment.request(method, path, body)
            self.same(answer.error, (401, "Unauthorized", None), (method, path, answer))
            self.same(answer.json["error"]["message"], "AKV10000: Request is missing a Bearer or PoP token.")
            self.holds(answer.headers["WWW-Authenticate"].startswith('Bearer authorization="https://login.'))
        answer = self.deployment.call("GET", "/keys", vault="nowhere")
        self.same(answer.error, (401, "Unauthorized", None), "a vault that is not there")


class WireForms(ClientTest):
    setUp = ErrorTable.setUp

    def test_addresses(self):
        call = self.deployment.call
        good = {"alg": "RSA-OAEP", "value": b64(b"k" * 32)}
        version = call("GET", "/keys/wire").json["key"]["kid"].rsplit("/", 1)[1]
        for path in ("/keys/wire//wrapkey", "/keys/wire/wrapKey", f"/keys/wire/{version}/WRAPKEY",
                     "/keys/WIRE/wrapkey"):
            answer = call("POST", path, good)
            self.same(answer.status, 200, (path, answer))
            self.same(answer.json["kid"], f"{self.deployment.url()}/keys/wire/{version}")
            padded = answer.json["value"] + "=" * (-len(answer.json["value"]) % 4)
            back = call("POST", path.lower().replace("wrapkey", "unwrapkey"), {"alg": "RSA-OAEP", "value": padded})
            self.same(back.json.get("value"), good["value"], "padding is taken, none is given")
        self.same(call("POST", "/keys//restore", {"value": good["value"]}).error, (400, "BadParameter", None))
        self.same(call("PATCH", "/keys/wire/", {"tags": {"a": "b"}}).json["tags"], {"a": "b"})
        answer = call("PUT", "/secrets/wire", '{"value": "\\u00e4\\ud83d\\udd11", "unknown": 1}')
        self.same(answer.json["value"], "ä\U0001f511")

    def test_items(self):
        items = self.deployment.call("GET", "/keys?maxresults=2").json
        self.same(len(items["value"]), 2)
        self.holds(re.fullmatch(self.deployment.url() + "/keys/[^/]+", items["value"][0]["kid"]))
        self.holds(items["nextLink"].startswith(self.deployment.url() + "/keys?api-version=" + API))
        self.holds(re.fullmatch(r"[A-Za-z0-9._~%$&=?:/-]+", items["nextLink"]), items["nextLink"])
        item = self.deployment.call("GET", "/secrets?maxresults=1").json["value"][0]
        self.holds("value" not in item and isinstance(item["attributes"]["created"], int))
        deleted = self.deployment.call("GET", "/deletedkeys/wire-deleted").json
        self.holds({"recoveryId", "deletedDate", "scheduledPurgeDate", "key", "attributes"} <= set(deleted))
        self.holds("value" not in self.deployment.call("PATCH", "/secrets/wire", {"tags": {}}).json)

    def test_import_with_leading_zeros(self):
        private = ec.generate_private_key(ec.SECP521R1()).private_numbers()
        key = {"kty": "EC", "crv": "P-521"}
        for name, value in (("x", private.public_numbers.x), ("y", private.public_numbers.y),
                            ("d", private.private_value)):
            key[name] = b64(number(value, 66))
        self.same(self.deployment.call("PUT", "/keys/zeros-ec", {"key": key}).status, 200)
        changed = jwk()
        for name in ("n", "e", "d", "p", "q", "dp", "dq", "qi"):
            changed[name] = b64(b"\x00" + unb64(changed[name]))
        answer = self.deployment.call("PUT", "/keys/zeros-rsa", {"key": changed})
        self.same(answer.status, 200, answer)

    def test_bare_headers(self):
        """As libmongocrypt writes them: no space after the colon, the host without a port, the connection to end."""
        body = '{"alg": "RSA-OAEP", "value": "' + b64(b"k" * 32) + '"}'
        text = (f"POST /keys/wire//wrapkey?api-version=7.1 HTTP/1.1\r\nHost:main.vault.localtest\r\n"
                f"Authorization:Bearer {self.deployment.token()}\r\nContent-Type:application/json\r\n"
                f"Connection:close\r\nContent-Length:{len(body)}\r\n\r\n{body}")
        with socket.create_connection(("127.0.0.1", self.deployment.port), timeout=20) as plain:
            with self.deployment.context.wrap_socket(plain, server_hostname="main.vault.localtest") as channel:
                channel.sendall(text.encode())
                answer = b""
                while block := channel.recv(65_536):
                    answer += block
        self.holds(answer.startswith(b"HTTP/1.1 200"), answer[:200])
        self.holds(f"{self.deployment.url()}/keys/wire/".encode() in answer, "the vault's own address, port included")

    def test_one_connection(self):
        connection = http.client.HTTPSConnection(
            "main.vault.localtest", self.deployment.port, context=self.deployment.context, timeout=20)
        try:
            connection.connect()
            channel = connection.sock
            for number_of_request in range(5):
                # A refusal with a body that nobody reads leaves the connection usable too.
                for token in (self.deployment.token(), None):
                    headers = {"x-ms-client-request-id": f"abc-{number_of_request}"}
                    if token:
                        headers["Authorization"] = "Bearer " + token
                    connection.request(
                        "POST", f"{SIGN}?api-version={API}", body='{"alg": "PS256", "value": "' + b64(bytes(32)) + '"}',
                        headers=headers)
                    response = connection.getresponse()
                    response.read()
                    self.same(response.status, 200 if token else 401)
                    self.same(response.headers["x-ms-client-request-id"], f"abc-{number_of_request}")
                    self.same(response.headers["X-Content-Type-Options"], "nosniff")
            self.holds(connection.sock is channel, "kept")
        finally:
            connection.close()
