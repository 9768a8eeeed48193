"""What was left in a vault is there when the server is started again, by a configuration file alone."""

from azure.keyvault.keys import KeyClient
from azure.keyvault.keys.crypto import CryptographyClient
from azure.keyvault.secrets import SecretClient

from deployment import ClientTest


def leave(deployment):
    """Leaves a key, what it wrapped, and a secret, before the server ends."""
    with deployment.credential() as credential, KeyClient(deployment.url(), credential) as keys:
        key = keys.create_rsa_key("left", size=2048)
        wrapped = CryptographyClient(key, credential).wrap_key("RSA-OAEP-256", b"k" * 32)
        with SecretClient(deployment.url(), credential) as secrets:
            secrets.set_secret("left", "behind")
        deployment.left = (key.id, wrapped.encrypted_key)


class RestartCases(ClientTest):
    def test_restart(self):
        identifier, wrapped = self.deployment.left
        with self.deployment.credential() as credential:
            with KeyClient(self.deployment.url(), credential) as keys:
                self.same(keys.get_key("left").id, identifier)
            crypto = CryptographyClient(identifier, credential)
            self.same(crypto.unwrap_key("RSA-OAEP-256", wrapped).key, b"k" * 32)
            with SecretClient(self.deployment.url(), credential) as secrets:
                self.same(secrets.get_secret("left").value, "behind")

    def test_old_token(self):
        self.same(self.deployment.call("GET", "/keys/left").status, 200, "a token of before the restart")
