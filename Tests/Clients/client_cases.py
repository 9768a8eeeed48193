"""How the clients reach the server: the challenge, older wires, and the asynchronous clients."""

import asyncio
import hashlib

from azure.core.exceptions import ClientAuthenticationError, ResourceNotFoundError
from azure.core.pipeline.transport import RequestsTransport
from azure.identity.aio import ClientSecretCredential as AsyncCredential
from azure.keyvault.keys import ApiVersion, KeyClient
from azure.keyvault.keys.aio import KeyClient as AsyncKeyClient
from azure.keyvault.keys._shared import HttpChallengeCache
from azure.keyvault.keys.crypto import SignatureAlgorithm
from azure.keyvault.keys.crypto.aio import CryptographyClient as AsyncCryptographyClient
from azure.keyvault.secrets import ApiVersion as SecretApiVersion, SecretClient
from azure.keyvault.secrets.aio import SecretClient as AsyncSecretClient

from deployment import ClientTest, DOMAIN


class Watch(RequestsTransport):
    """The usual transport, which notes what goes over the wire."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def send(self, request, **named):
        shown, body = "Authorization" in request.headers, request.data or request.content
        response = super().send(request, **named)
        self.seen.append((request.method, response.status_code, shown, bool(body), response.headers))
        return response


class ClientCases(ClientTest):
    def test_challenge(self):
        HttpChallengeCache.clear()
        watch = Watch()
        with self.deployment.credential() as credential:
            # By default the client checks that the resource fits the vault's host and port.
            with KeyClient(self.deployment.url(), credential, transport=watch) as keys:
                keys.create_ec_key("challenged")
                keys.get_key("challenged")
        self.same(
            [entry[:4] for entry in watch.seen],
            [("POST", 401, False, False), ("POST", 200, True, True), ("GET", 200, True, False)], "once for a host")
        challenge = watch.seen[0][4]["WWW-Authenticate"]
        self.same(challenge, f'Bearer authorization="{self.deployment.bootstrap["authority"]}/main", '
                             f'resource="https://{DOMAIN}:{self.deployment.port}"')

    def test_credential_of_another_tenant(self):
        HttpChallengeCache.clear()
        self.deployment.manage("identity", "create", "foreign", "--tenant", "other")
        made = self.deployment.manage("identity", "secret", "foreign", "--tenant", "other")
        with self.deployment.credential("foreign", made["clientSecret"], "other") as credential:
            with KeyClient(self.deployment.url(), credential) as keys:
                with self.assertRaises(ClientAuthenticationError):
                    keys.get_key("challenged")
        self.deployment.checks += 1

    def test_older_wires(self):
        with self.deployment.credential() as credential:
            for version in ApiVersion:
                with KeyClient(self.deployment.url(), credential, api_version=version) as keys:
                    self.same(keys.create_ec_key("wired").name, "wired", version)
                    self.holds(list(keys.list_properties_of_key_versions("wired", max_page_size=1)), version)
            for version in SecretApiVersion:
                with SecretClient(self.deployment.url(), credential, api_version=version) as secrets:
                    self.same(secrets.set_secret("wired", "x").value, "x", version)

    def test_asynchronous(self):
        asyncio.run(self.asynchronous())

    async def asynchronous(self):
        boot = self.deployment.bootstrap
        verify = {"connection_verify": self.deployment.ca}
        credential = AsyncCredential(
            boot["tenant"], boot["clientID"], boot["clientSecret"], authority=boot["authority"],
            disable_instance_discovery=True, **verify)
        async with credential:
            async with AsyncKeyClient(self.deployment.url(), credential, **verify) as keys:
                made = await asyncio.gather(*[keys.create_ec_key(f"async-{i:02}") for i in range(12)])
                self.same(len({key.id for key in made}), 12)
                names = [item.name async for item in keys.list_properties_of_keys(max_page_size=5)]
                self.holds({key.name for key in made} <= set(names))
                key = await keys.create_rsa_key("async-rsa", size=2048)
                newer = await keys.rotate_key("async-rsa")
                self.holds(newer.id != key.id)
                async with AsyncCryptographyClient(key, credential, **verify) as crypto:
                    wrapped = await crypto.wrap_key("RSA-OAEP-256", b"k" * 32)
                    self.same((await crypto.unwrap_key("RSA-OAEP-256", wrapped.encrypted_key)).key, b"k" * 32)
                    digest = hashlib.sha256(b"message").digest()
                    signed = await crypto.sign(SignatureAlgorithm.ps256, digest)
                    self.holds((await crypto.verify("PS256", digest, signed.signature)).is_valid)
                deleted = await keys.delete_key("async-rsa")
                self.holds(deleted.recovery_id)
                self.same((await keys.recover_deleted_key("async-rsa")).id, newer.id)
                await keys.delete_key("async-rsa")
                await keys.purge_deleted_key("async-rsa")
                with self.assertRaises(ResourceNotFoundError):
                    await keys.get_key("async-rsa")
            async with AsyncSecretClient(self.deployment.url(), credential, **verify) as secrets:
                made = await asyncio.gather(*[secrets.set_secret(f"async-{i}", str(i)) for i in range(8)])
                self.same([secret.value for secret in made], [str(i) for i in range(8)])
                self.same((await secrets.get_secret("async-3")).value, "3")
                names = [item.name async for item in secrets.list_properties_of_secrets(max_page_size=3)]
                self.holds({secret.name for secret in made} <= set(names))
                await secrets.delete_secret("async-3")
                self.holds("async-3" in [item.name async for item in secrets.list_deleted_secrets()])
                await secrets.recover_deleted_secret("async-3")
                blob = await secrets.backup_secret("async-4")
                await secrets.delete_secret("async-4")
                await secrets.purge_deleted_secret("async-4")
                self.same((await secrets.restore_secret_backup(blob)).name, "async-4")
