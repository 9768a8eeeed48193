"""Who asks: every credential of azure-identity that can be pointed here, and what becomes of wrong ones."""

import contextlib
import http.server
import json
import os
import threading
import time
import unittest

import jwt
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.identity import (
    ClientSecretCredential, DefaultAzureCredential, ManagedIdentityCredential, WorkloadIdentityCredential)
from azure.keyvault.keys import KeyClient
from cryptography.hazmat.primitives.asymmetric import rsa

from deployment import ClientTest, WORK, b64, unb64


@contextlib.contextmanager
def environment(**variables):
    """Variables for the while."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


class Issuer:
    """An OpenID Connect issuer on this machine, which counts who asks for its keys."""

    def __enter__(self):
        self.key = rsa.generate_private_key(65537, 2048)
        numbers = self.key.public_key().public_numbers()
        issuer = self
        self.asked = 0

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                issuer.asked += 1
                if self.path.endswith("/openid-configuration"):
                    body = {"issuer": issuer.url, "jwks_uri": issuer.url + "/keys"}
                else:
                    body = {"keys": [{
                        "kty": "RSA", "kid": "1", "use": "sig", "alg": "RS256", "e": "AQAB",
                        "n": b64(numbers.n.to_bytes(256, "big"))}]}
                data = json.dumps(body).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def token(self, subject, key=None, **more):
        now = int(time.time())
        claims = {"iss": self.url, "sub": subject, "aud": "api://AzureADTokenExchange", "iat": now, "nbf": now,
                  "exp": now + 600, **more}
        return jwt.encode(claims, key or self.key, algorithm="RS256", headers={"kid": "1"})


class IdentityCases(ClientTest):
    def setUp(self):
        if not getattr(self.deployment, "has_seen", False):
            with KeyClient(self.deployment.url(), self.deployment.credential()) as keys:
                keys.create_ec_key("seen")
            self.deployment.has_seen = True

    def sees(self, credential, what=None):
        """The credential leads to the vault."""
        with credential, KeyClient(self.deployment.url(), credential) as keys:
            self.same(keys.get_key("seen").name, "seen", what)

    def test_client_secret(self):
        self.sees(self.deployment.credential())
        other = self.deployment.manage("identity", "secret", self.deployment.bootstrap["clientID"], "--days", "3")
        self.sees(self.deployment.credential(secret=other["clientSecret"]), "a second secret")
        self.sees(self.deployment.credential(), "the first goes on")

    def test_wrong_secret(self):
        for named in ({"secret": "wrong"}, {"client": "nobody"}, {"tenant": "elsewhere"}):
            with self.deployment.credential(**named) as credential:
                with self.assertRaises(ClientAuthenticationError) as raised:
                    credential.get_token(self.deployment.resource + "/.default")
                self.same("AADSTS" in raised.exception.message, True)
        answer = self.deployment.ask_token(secret="wrong")
        self.same((answer.status, answer.json["error"]), (401, "invalid_client"))
        for status, error, more in ((400, "unsupported_grant_type", {"grant_type": "password"}),
                                    (400, "invalid_scope", {"scope": "openid"}),
                                    (400, "invalid_request", {"client_secret": ""})):
            answer = self.deployment.ask_token(**more)
            self.same((answer.status, answer.json["error"]), (status, error), answer)

    def test_token(self):
        answer = self.deployment.ask_token()
        self.same(answer.json["token_type"], "Bearer")
        self.holds(3000 < answer.json["expires_in"] <= 3600 and answer.json["ext_expires_in"] > 3000)
        self.same(answer.headers["Cache-Control"], "no-store")
        claims = jwt.decode(answer.json["access_token"], options={"verify_signature": False})
        self.same(claims["aud"], self.deployment.resource)
        self.holds({"aud", "iss", "iat", "nbf", "exp", "appid", "oid", "sub", "tid", "ver"} <= set(claims), claims)
        resource = self.deployment.resource
        answer = self.deployment.ask_token(path="oauth2/token", resource=resource)
        self.same((answer.status, answer.json["error"]), (400, "invalid_request"), "scope and resource at once")
        answer = self.deployment.ask_token(path="oauth2/token", scope="", resource=resource)
        self.same(answer.status, 200, "the form of old clients")
        self.same(self.deployment.call("GET", "/keys/seen", token=answer.json["access_token"]).status, 200)

    def test_discovery(self):
        found = self.deployment.request("GET", "/main/v2.0/.well-known/openid-configuration", vault="login").json
        base = self.deployment.bootstrap["authority"] + "/main/"
        self.holds(found["token_endpoint"].startswith(base) and found["authorization_endpoint"].startswith(base))
        keys = self.deployment.request("GET", "/main/discovery/v2.0/keys", vault="login").json["keys"]
        self.same(found["jwks_uri"], base + "discovery/v2.0/keys")
        token = self.deployment.token()
        key = next(jwt.PyJWK(key) for key in keys if key["kid"] == jwt.get_unverified_header(token)["kid"])
        claims = jwt.decode(
            token, key.key, algorithms=[jwt.get_unverified_header(token)["alg"]], audience=self.deployment.resource,
            issuer=found["issuer"])
        self.same(claims["tid"], "main")

    def test_bad_tokens(self):
        good = self.deployment.token()
        head, claims, signature = good.split(".")
        late = json.loads(unb64(claims))
        late.update(exp=int(time.time()) - 3600, nbf=int(time.time()) - 7200, iat=int(time.time()) - 7200)
        self.deployment.manage("identity", "create", "stranger", "--tenant", "elsewhere")
        stranger = self.deployment.manage("identity", "secret", "stranger", "--tenant", "elsewhere")["clientSecret"]
        none = b64(b'{"alg":"none","typ":"JWT"}')
        cases = {
            "garbage": ("garbage", "AKV10000"),
            "expired": (f"{head}.{b64(json.dumps(late).encode())}.{signature}", "AKV10000"),
            "signed by nobody": (f"{none}.{claims}.", "AKV10000"),
            "a changed signature": (f"{head}.{claims}.{b64(bytes(len(unb64(signature))))}", "AKV10000"),
            "of another audience": (self.deployment.token(scope="https://other.example/.default"), "AKV10022"),
            "of another tenant": (self.deployment.token("stranger", stranger, "elsewhere"), "AKV10032"),
        }
        for what, (token, code) in cases.items():
            answer = self.deployment.call("GET", "/keys/seen", token=token)
            self.same(answer.error, (401, "Unauthorized", None), (what, answer))
            self.holds(code in answer.json["error"]["message"], (what, answer))
            self.holds(answer.headers["WWW-Authenticate"].startswith("Bearer authorization="), what)
        answer = self.deployment.request("GET", "/keys/seen?api-version=7.4", headers={"Authorization": "Basic eDp5"})
        self.same(answer.error, (401, "Unauthorized", None))

    def test_switched_off(self):
        made = self.deployment.manage("identity", "create", "leaver")
        self.deployment.manage("policy", "set", "main", "leaver", "--keys", "get")
        token = self.deployment.token("leaver", made["clientSecret"])
        self.same(self.deployment.call("GET", "/keys/seen", token=token).status, 200)
        self.deployment.manage("identity", "disable", "leaver")
        self.same(self.deployment.call("GET", "/keys/seen", token=token).error, (401, "Unauthorized", None))
        self.same(self.deployment.ask_token("leaver", made["clientSecret"]).status, 401)
        self.deployment.manage("identity", "enable", "leaver")
        self.sees(self.deployment.credential("leaver", made["clientSecret"]))

    def test_policy(self):
        made = self.deployment.manage("identity", "create", "reader")
        with self.deployment.credential("reader", made["clientSecret"]) as credential:
            with KeyClient(self.deployment.url(), credential) as keys:
                self.refused(403, "Forbidden", "ForbiddenByPolicy", keys.get_key, "seen")
                self.deployment.manage("policy", "set", "main", "reader", "--keys", "get,list")
                self.same(keys.get_key("seen").name, "seen")
                self.refused(403, "Forbidden", "ForbiddenByPolicy", keys.create_ec_key, "mine")
                self.refused(403, "Forbidden", "ForbiddenByPolicy", keys.begin_delete_key, "seen")
                self.refused(403, "Forbidden", "ForbiddenByPolicy", keys.rotate_key, "seen")
                self.refused(403, "Forbidden", "ForbiddenByPolicy", keys.purge_deleted_key, "seen")
                self.refused(403, "Forbidden", "ForbiddenByPolicy", keys.backup_key, "seen")
                self.deployment.manage("policy", "set", "main", "reader", "--keys", "list", "--deny")
                self.refused(403, "Forbidden", "ForbiddenByPolicy", lambda: list(keys.list_properties_of_keys()))
                self.deployment.manage("policy", "delete", "main", "reader")
                self.refused(403, "Forbidden", "ForbiddenByPolicy", keys.get_key, "seen")

    def test_managed_identity(self):
        boot = self.deployment.bootstrap
        with environment(IDENTITY_ENDPOINT=boot["identityEndpoint"], IDENTITY_HEADER=boot["identityHeader"]):
            self.sees(ManagedIdentityCredential(), "App Service")
            self.sees(ManagedIdentityCredential(client_id=boot["identity"]), "by its name")
            self.sees(DefaultAzureCredential(), "as programs do that choose nothing")
            with self.assertRaises(HttpResponseError):
                ManagedIdentityCredential(client_id="another").get_token(self.deployment.resource + "/.default")
            self.deployment.checks += 1
        with environment(IDENTITY_ENDPOINT=boot["identityEndpoint"], IDENTITY_HEADER="wrong"):
            with self.assertRaises(ClientAuthenticationError):
                ManagedIdentityCredential().get_token(self.deployment.resource + "/.default")
            self.deployment.checks += 1
        with environment(AZURE_POD_IDENTITY_AUTHORITY_HOST=boot["imdsHost"]):
            self.sees(ManagedIdentityCredential(), "IMDS")
            self.sees(DefaultAzureCredential(), "IMDS by the chain, which probes first")

    def test_workload_identity(self):
        with Issuer() as issuer:
            made = self.deployment.manage(
                "identity", "create", "workload", "--without-secret", "--federated-issuer", issuer.url,
                "--federated-subject", "system:serviceaccount:default:app")
            self.deployment.manage("policy", "set", "main", "workload", "--keys", "get")
            path = os.path.join(WORK, "federated-token")

            def credential(token):
                with open(path, "w", encoding="utf-8") as file:
                    file.write(token)
                return WorkloadIdentityCredential()

            with environment(
                    AZURE_TENANT_ID="main", AZURE_CLIENT_ID=made["clientID"], AZURE_FEDERATED_TOKEN_FILE=path,
                    AZURE_AUTHORITY_HOST=self.deployment.bootstrap["authority"]):
                try:
                    self.sees(credential(issuer.token("system:serviceaccount:default:app")))
                except ClientAuthenticationError:
                    if issuer.asked:
                        raise
                    raise unittest.SkipTest("the server asks no outside issuer for its keys") from None
                for bad in (issuer.token("system:serviceaccount:default:other"),
                            issuer.token("system:serviceaccount:default:app", aud="api://other"),
                            issuer.token("system:serviceaccount:default:app", exp=int(time.time()) - 600),
                            issuer.token("system:serviceaccount:default:app",
                                         key=rsa.generate_private_key(65537, 2048))):
                    with self.assertRaises(ClientAuthenticationError):
                        credential(bad).get_token(self.deployment.resource + "/.default")
                    self.deployment.checks += 1
