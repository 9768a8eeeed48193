"""A server of the test's own, and what every test does with it."""

import base64
import http.client
import json
import os
import socket
import ssl
import subprocess
import unittest
import urllib.parse

DOMAIN = "vault.localtest"
API = "2025-07-01"
WORK = os.environ["KEYCUSTODY_CLIENTS_WORK"]
EXECUTABLE = os.environ["KEYCUSTODY_EXECUTABLE"]


def _resolve_here():
    """Makes names under the test's domain this machine's: a CI job can't count on /etc/hosts."""
    resolve = socket.getaddrinfo

    def getaddrinfo(host, *rest, **named):
        text = host.decode() if isinstance(host, bytes) else host
        if text and (text == DOMAIN or text.endswith("." + DOMAIN)):
            host = "127.0.0.1"
        return resolve(host, *rest, **named)

    socket.getaddrinfo = getaddrinfo


_resolve_here()


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Answer:
    """What came back over raw HTTPS."""

    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def json(self):
        return json.loads(self.body) if self.body else None

    @property
    def error(self):
        error = (self.json or {}).get("error", {})
        return self.status, error.get("code"), (error.get("innererror") or {}).get("code")

    def __repr__(self):
        return f"{self.status} {self.body[:400]!r}"


class Deployment:
    """One server with its data folder."""

    def __init__(self, name):
        self.name = name
        self.folder = os.path.join(WORK, name)
        self.process = None
        self.checks = 0
        self.has_token = name == "token"
        if self.has_token:
            self._configure_token()

    def _configure_token(self):
        """Vault keys on SoftHSM; everything else as the server would write it."""
        os.mkdir(self.folder, 0o700)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            identity_port = free.getsockname()[1]
        keys = {
            "plugin": "pkcs11", "module": os.environ["KEYCUSTODY_CLIENTS_MODULE"], "token": "pkcs11:token=clients",
            "pinFile": os.path.join(WORK, "pin"), "emulate": ["RSA-OAEP-256"],
        }
        configuration = {
            "keyProviders": {
                "token": keys, "software": {"plugin": "file", "directory": "keys", "keyFile": "store.key"},
            },
            "policyStores": {"state": {"plugin": "sqlite", "path": "state.sqlite"}},
            "service": {"keyProvider": "token", "policyStore": "state"},
            "vaults": {"domain": DOMAIN + ":1"},
            "audit": {"folder": "audit"},
            "server": {
                "tenant": "main", "certificateFolder": "tls", "identity": "machine", "hsmKeyProvider": "token",
                "identityHeaderFile": "identity-header", "identityPort": identity_port,
            },
        }
        with open(os.path.join(self.folder, "keycustody.json"), "w", encoding="utf-8") as file:
            json.dump(configuration, file)

    # Running it

    def start(self, *arguments):
        """Starts the server and waits until it is ready."""
        arguments = arguments or ("--data", self.folder, "--domain", DOMAIN, "--port", "0")
        self.process = subprocess.Popen(
            [EXECUTABLE, "serve", *arguments, "--output", "json"], stdout=subprocess.PIPE, text=True)
        with open(os.path.join(WORK, self.name + ".pid"), "w", encoding="utf-8") as file:
            file.write(str(self.process.pid))
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"the server '{self.name}' did not start")
        ready = json.loads(line)
        self.port = ready["port"]
        with open(os.path.join(self.folder, "bootstrap.json"), encoding="utf-8") as file:
            self.bootstrap = json.load(file)
        self.ca = self.bootstrap["caFile"]
        self.context = ssl.create_default_context(cafile=self.ca)
        self.resource = f"https://{DOMAIN}:{self.port}"
        os.environ["REQUESTS_CA_BUNDLE"] = self.ca
        return self

    def stop(self):
        """Ends the server, and says whether it ended as it should."""
        if self.process is None:
            return 0
        self.process.terminate()
        try:
            status = self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        self.process.stdout.close()
        self.process = None
        os.remove(os.path.join(WORK, self.name + ".pid"))
        return status

    def manage(self, *arguments):
        """Runs a command of management on the deployment that is being served."""
        done = subprocess.run(
            [EXECUTABLE, *arguments, "--data", self.folder, "--output", "json"], capture_output=True, text=True,
            check=False)
        if done.returncode != 0:
            raise AssertionError(f"{arguments}: {done.stdout}{done.stderr}")
        return json.loads(done.stdout)

    # Reaching it

    def url(self, vault="main"):
        return f"https://{vault}.{DOMAIN}:{self.port}"

    def request(self, method, path, body=None, vault="main", headers=None, token=None):
        """One request over raw HTTPS, on a connection of its own."""
        connection = http.client.HTTPSConnection(f"{vault}.{DOMAIN}", self.port, context=self.context, timeout=20)
        headers = dict(headers or {})
        if token:
            headers["Authorization"] = "Bearer " + token
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
            headers.setdefault("Content-Type", "application/json")
        try:
            connection.request(method, path, body=body, headers=headers)
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def call(self, method, path, body=None, vault="main", token=None, api=API):
        """A request of the bootstrap client, with an api-version."""
        mark = "&" if "?" in path else "?"
        return self.request(
            method, f"{path}{mark}api-version={api}", body, vault=vault, token=token or self.token())

    def ask_token(self, client=None, secret=None, tenant="main", scope=None, path="oauth2/v2.0/token", **more):
        """Asks the token endpoint."""
        form = {
            "client_id": client or self.bootstrap["clientID"],
            "client_secret": secret or self.bootstrap["clientSecret"], "grant_type": "client_credentials",
            "scope": f"{self.resource}/.default" if scope is None else scope, **more,
        }
        return self.request(
            "POST", f"/{tenant}/{path}", urllib.parse.urlencode(form), vault="login",
            headers={"Content-Type": "application/x-www-form-urlencoded"})

    def token(self, *rest, **named):
        """An access token; the bootstrap client's is asked for once."""
        if rest or named:
            return self.ask_token(*rest, **named).json["access_token"]
        if getattr(self, "_token", None) is None:
            self._token = self.ask_token().json["access_token"]
        return self._token

    def credential(self, client=None, secret=None, tenant=None, kind=None):
        """The SDK's own credential."""
        if kind is None:
            from azure.identity import ClientSecretCredential as kind
        boot = self.bootstrap
        return kind(
            tenant or boot["tenant"], client or boot["clientID"], secret or boot["clientSecret"],
            authority=boot["authority"], disable_instance_discovery=True)


class ClientTest(unittest.TestCase):
    """A test that runs on every deployment, and counts what it checks there."""

    deployment: Deployment
    maxDiff = None

    def same(self, found, wanted, what=None):
        self.deployment.checks += 1
        self.assertEqual(found, wanted, what)

    def holds(self, truth, what=None):
        self.deployment.checks += 1
        self.assertTrue(truth, what)

    def refused(self, status, code, inner, body, *arguments, **named):
        """What the SDK raises for an error of the server."""
        from azure.core.exceptions import HttpResponseError

        self.deployment.checks += 1
        with self.assertRaises(HttpResponseError) as raised:
            body(*arguments, **named)
        error = raised.exception
        self.check_error(error, status, code, inner)
        return error

    def check_error(self, error, status, code, inner):
        found = (error.error.innererror or {}).get("code") if error.error else None
        self.assertEqual((error.status_code, error.error and error.error.code, found), (status, code, inner), error)
