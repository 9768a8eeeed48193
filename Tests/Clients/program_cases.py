"""Programs on the SDK: the signer of TUF and in-toto (securesystemslib), and pydantic's settings."""

from azure.keyvault.keys import KeyClient
from azure.keyvault.secrets import SecretClient
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import BaseModel
from pydantic_settings import AzureKeyVaultSettingsSource, BaseSettings
from securesystemslib.exceptions import UnverifiedSignatureError, VerificationError
from securesystemslib.signer import AzureSigner, SIGNER_FOR_URI_SCHEME, Signer, SSlibKey

from deployment import ClientTest
from identity_cases import environment

CURVES = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}


class ProgramCases(ClientTest):
    def test_signer(self):
        boot = self.deployment.bootstrap
        SIGNER_FOR_URI_SCHEME[AzureSigner.SCHEME] = AzureSigner
        with self.deployment.credential() as credential, KeyClient(self.deployment.url(), credential) as keys:
            for curve, known in CURVES.items():
                made = keys.create_ec_key(f"tuf-{curve}", curve=curve)
                numbers = [int.from_bytes(part, "big") for part in (made.key.x, made.key.y)]
                public = SSlibKey.from_crypto(ec.EllipticCurvePublicNumbers(*numbers, known).public_key())
                with environment(IDENTITY_ENDPOINT=boot["identityEndpoint"], IDENTITY_HEADER=boot["identityHeader"]):
                    signer = Signer.from_priv_key_uri(made.id.replace("https:", "azurekms:"), public)
                    signature = signer.sign(b"metadata")
                public.verify_signature(signature, b"metadata")
                with self.assertRaises((UnverifiedSignatureError, VerificationError)):
                    public.verify_signature(signature, b"other")
                self.deployment.checks += 2

    def test_settings(self):
        deployment = self.deployment

        class Database(BaseModel):
            password: str
            port: int

        class Settings(BaseSettings):
            api_key: str
            database: Database

            @classmethod
            def settings_customise_sources(
                    cls, settings_cls, init_settings, env_settings, dotenv_settings, file_secret_settings):
                return (AzureKeyVaultSettingsSource(
                    settings_cls, deployment.url("settings"), deployment.credential(), dash_to_underscore=True),)

        deployment.manage("vault", "create", "settings")
        deployment.manage("policy", "set", "settings", deployment.bootstrap["clientID"], "--secrets", "get,list,set")
        with deployment.credential() as credential:
            with SecretClient(deployment.url("settings"), credential) as secrets:
                for name, value in (("api-key", "k"), ("database--password", "päss"), ("database--port", "5432")):
                    secrets.set_secret(name, value)
                secrets.set_secret("unused", "x", enabled=False)
        found = Settings()
        self.same((found.api_key, found.database.password, found.database.port), ("k", "päss", 5432))
