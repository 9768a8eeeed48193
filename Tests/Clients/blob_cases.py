"""Client-side encryption of Azure Storage (version 2) under a key of the vault; a small store holds the blobs."""

import http.server
import threading
import urllib.parse

from azure.core.exceptions import HttpResponseError
from azure.keyvault.keys import KeyClient
from azure.keyvault.keys.crypto import CryptographyClient, KeyWrapAlgorithm
from azure.storage.blob import BlobClient

from deployment import ClientTest


class Store:
    """As much of a blob service as the client asks for: put, blocks, properties, ranges."""

    def __enter__(self):
        blobs, blocks = {}, {}
        self.blobs = blobs

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self, status, body=b"", **fields):
                self.send_response(status)
                for name, value in fields.items():
                    self.send_header(name.replace("_", "-"), value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def do_PUT(self):
                url = urllib.parse.urlsplit(self.path)
                query = urllib.parse.parse_qs(url.query)
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                stored = {"Last_Modified": "Mon, 01 Jan 2024 00:00:00 GMT", "ETag": '"1"'}
                kind = query.get("comp", [""])[0]
                if kind == "block":
                    blocks.setdefault(url.path, []).append(body)
                    return self.answer(201, **stored)
                meta = {name: value for name, value in self.headers.items() if name.lower().startswith("x-ms-meta-")}
                blobs[url.path] = (b"".join(blocks.pop(url.path, [])) if kind == "blocklist" else body, meta)
                return self.answer(201, **stored)

            def do_GET(self):
                body, meta = blobs[urllib.parse.urlsplit(self.path).path]
                fields = {"x_ms_blob_type": "BlockBlob", "ETag": '"1"', "Accept_Ranges": "bytes", **meta,
                          "Last_Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}
                asked = self.headers.get("x-ms-range") or self.headers.get("Range")
                if self.command == "HEAD" or not asked:
                    return self.answer(200, body, **fields)
                first, _, last = asked.removeprefix("bytes=").partition("-")
                last = min(int(last or len(body)), len(body) - 1)
                part = body[int(first):last + 1]
                return self.answer(206, part, **fields, Content_Range=f"bytes {first}-{last}/{len(body)}")

            do_HEAD = do_GET

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/account"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


class KeyEncryptionKey:
    """The four methods that the storage client asks of a key, on the SDK's client."""

    def __init__(self, crypto, algorithm):
        self.crypto = crypto
        self.algorithm = algorithm

    def wrap_key(self, key):
        return self.crypto.wrap_key(self.algorithm, key).encrypted_key

    def unwrap_key(self, key, algorithm):
        return self.crypto.unwrap_key(KeyWrapAlgorithm(algorithm), key).key

    def get_kid(self):
        return self.crypto.key_id

    def get_key_wrap_algorithm(self):
        return self.algorithm.value


class BlobCases(ClientTest):
    def test_client_side_encryption(self):
        with Store() as store, self.deployment.credential() as credential, KeyClient(
                self.deployment.url(), credential) as keys:
            key = keys.create_rsa_key("storage", size=2048)
            made = self.deployment.manage("identity", "create", "storage")
            self.deployment.manage("policy", "set", "main", "storage", "--keys", "get,wrapKey,unwrapKey")
            user = self.deployment.credential("storage", made["clientSecret"])

            def kek(identifier, algorithm=KeyWrapAlgorithm.rsa_oaep_256):
                return KeyEncryptionKey(CryptographyClient(identifier, user), algorithm)

            def blob(name, of):
                return BlobClient(
                    store.url, "container", name, key_encryption_key=of, require_encryption=True,
                    encryption_version="2.0", key_resolver_function=None)

            contents = {size: bytes(i % 251 for i in range(size)) for size in (0, 1, 1000, 4 << 20, (9 << 20) + 17)}
            for algorithm in (KeyWrapAlgorithm.rsa_oaep, KeyWrapAlgorithm.rsa_oaep_256):
                for size, content in contents.items():
                    blob(f"b{size}", kek(key.id, algorithm)).upload_blob(content, overwrite=True)
                    stored = store.blobs[f"/account/container/b{size}"][0]
                    self.holds(len(stored) >= size and (size < 1000 or content[:500] not in stored))
                    self.holds(blob(f"b{size}", kek(key.id)).download_blob().readall() == content, size)
            middle = blob("b1000", kek(key.id)).download_blob(offset=100, length=50).readall()
            self.same(middle, contents[1000][100:150])

            newer = keys.rotate_key("storage")
            blob("new", kek(newer.id)).upload_blob(b"under the new version")
            self.same(blob("new", kek(newer.id)).download_blob().readall(), b"under the new version")
            self.same(blob("b1000", kek(key.id)).download_blob().readall(), contents[1000], "the old one goes on")

            self.deployment.manage("policy", "delete", "main", "storage")
            with self.assertRaises(HttpResponseError):
                blob("b1000", kek(key.id)).download_blob().readall()
            self.deployment.checks += 1
            user.close()
