"""Keys by the SDK: made, brought in, listed, rotated, backed up, deleted and restored."""

import datetime
import time

from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.keyvault.keys import (
    JsonWebKey, KeyClient, KeyRotationLifetimeAction, KeyRotationPolicy, KeyRotationPolicyAction)
from azure.keyvault.keys.crypto import CryptographyClient
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from deployment import ClientTest


def number(value, length=None):
    return value.to_bytes(length or (value.bit_length() + 7) // 8, "big")


def rsa_jwk(private, **more):
    """An RSA key as the SDK takes it."""
    p = private.private_numbers()
    return JsonWebKey(
        kty="RSA", n=number(p.public_numbers.n), e=number(p.public_numbers.e), d=number(p.d), p=number(p.p),
        q=number(p.q), dp=number(p.dmp1), dq=number(p.dmq1), qi=number(p.iqmp), **more)


def ec_jwk(private, crv, length, **more):
    """An EC key as the SDK takes it."""
    p = private.private_numbers()
    return JsonWebKey(
        kty="EC", crv=crv, x=number(p.public_numbers.x, length), y=number(p.public_numbers.y, length),
        d=number(p.private_value, length), **more)


class KeyCases(ClientTest):
    def setUp(self):
        self.credential = self.deployment.credential()
        self.keys = KeyClient(self.deployment.url(), self.credential)

    def tearDown(self):
        self.keys.close()
        self.credential.close()

    def test_create_rsa(self):
        for size in (2048, 3072, 4096):
            key = self.keys.create_rsa_key(f"rsa-{size}", size=size)
            self.same(key.key_type, "RSA")
            self.same(len(key.key.n), size // 8)
            self.same(key.key.e, b"\x01\x00\x01")
            self.same(
                sorted(key.key_operations), sorted(["encrypt", "decrypt", "sign", "verify", "wrapKey", "unwrapKey"]))
            self.same(key.id, f"{self.deployment.url()}/keys/rsa-{size}/{key.properties.version}")
            self.same(len(key.properties.version), 32)
            self.same((key.key.d, key.key.p, key.key.q), (None, None, None), "private members")
            self.same(key.properties.enabled, True)
            self.same(key.properties.recovery_level, "Recoverable+Purgeable")
            self.same(key.properties.recoverable_days, 90)

    def test_create_ec(self):
        for curve, length in (("P-256", 32), ("P-384", 48), ("P-521", 66)):
            key = self.keys.create_ec_key(f"ec-{curve}", curve=curve)
            self.same((key.key_type, key.key.crv), ("EC", curve))
            self.same((len(key.key.x), len(key.key.y)), (length, length))
            self.same(sorted(key.key_operations), ["sign", "verify"])
        self.same(self.keys.create_ec_key("ec-default").key.crv, "P-256")

    def test_create_oct(self):
        key = self.keys.create_oct_key("oct", size=256)
        self.same(key.key_type, "oct")
        self.same(key.key.k, None)
        self.holds("wrapKey" in key.key_operations)

    def test_hardware_protected(self):
        if self.deployment.has_token:
            self.same(self.keys.create_rsa_key("hsm-rsa", size=2048, hardware_protected=True).key_type, "RSA-HSM")
            self.same(self.keys.create_ec_key("hsm-ec", hardware_protected=True).key_type, "EC-HSM")
            self.same(self.keys.create_oct_key("hsm-oct", size=256, hardware_protected=True).key_type, "oct-HSM")
        else:
            self.refused(
                400, "NotSupported", None, self.keys.create_rsa_key, "hsm-rsa", size=2048, hardware_protected=True)

    def test_attributes_and_tags(self):
        begin = datetime.datetime(2024, 1, 2, tzinfo=datetime.timezone.utc)
        end = datetime.datetime(2031, 1, 2, tzinfo=datetime.timezone.utc)
        made = self.keys.create_ec_key(
            "attributes", not_before=begin, expires_on=end, enabled=True, tags={"a": "b", "ä": "ö"},
            key_operations=["sign"])
        self.same((made.properties.not_before, made.properties.expires_on), (begin, end))
        self.same(made.properties.tags, {"a": "b", "ä": "ö"})
        self.same(list(made.key_operations), ["sign"])
        self.same(made.properties.exportable, False)
        later = self.keys.update_key_properties(
            "attributes", made.properties.version, enabled=False, key_operations=["verify"])
        self.same(later.properties.enabled, False)
        self.same(later.properties.tags, {"a": "b", "ä": "ö"}, "what is absent stays")
        self.same((later.properties.not_before, later.properties.expires_on), (begin, end))
        self.same(list(later.key_operations), ["verify"])
        self.holds(later.properties.updated_on >= made.properties.created_on)
        self.same(self.keys.get_key("attributes").properties.enabled, False, "a disabled key is shown")
        latest = self.keys.update_key_properties("attributes", enabled=True, tags={"c": "d"})
        self.same(latest.properties.tags, {"c": "d"}, "tags replace")
        self.same(latest.id, made.id)

    def test_import(self):
        private = rsa.generate_private_key(65537, 2048)
        key = self.keys.import_key("imported", rsa_jwk(private, key_ops=["wrapKey", "unwrapKey"]), tags={"from": "me"})
        self.same(key.key.n, number(private.public_key().public_numbers().n))
        self.same(sorted(key.key_operations), ["unwrapKey", "wrapKey"])
        self.same(key.properties.tags, {"from": "me"})
        crypto = CryptographyClient(key, self.credential)
        self.same(crypto.unwrap_key("RSA-OAEP", crypto.wrap_key("RSA-OAEP", b"k" * 32).encrypted_key).key, b"k" * 32)
        for curve, name, length in ((ec.SECP256R1(), "P-256", 32), (ec.SECP384R1(), "P-384", 48),
                                    (ec.SECP521R1(), "P-521", 66)):
            private = ec.generate_private_key(curve)
            key = self.keys.import_key(f"imported-{name}", ec_jwk(private, name, length))
            self.same(key.key.x, number(private.public_key().public_numbers().x, length))

    def test_paging(self):
        wanted = {f"paged-{i:02}" for i in range(31)}
        for name in wanted:
            self.keys.create_ec_key(name)
        pages = [list(page) for page in self.keys.list_properties_of_keys(max_page_size=7).by_page()]
        self.holds(len(pages) >= 5)
        self.holds(all(len(page) <= 7 for page in pages))
        names = [item.name for page in pages for item in page]
        self.same(len(names), len(set(names)))
        self.holds(wanted <= set(names))
        self.holds(all(item.version is None for page in pages for item in page))
        self.holds(wanted <= {item.name for item in self.keys.list_properties_of_keys()}, "pages of the usual size")
        token = None
        names = []
        while True:  # as a web page that shows one page at a time
            pager = self.keys.list_properties_of_keys(max_page_size=25).by_page(continuation_token=token)
            names += [item.name for item in next(pager)]
            token = pager.continuation_token
            if not token:
                break
        self.holds(wanted <= set(names))

    def test_versions(self):
        made = [self.keys.create_ec_key("versions").properties.version for _ in range(6)]
        found = [item.version for item in self.keys.list_properties_of_key_versions("versions", max_page_size=2)]
        self.same(sorted(found), sorted(made))
        self.same(self.keys.get_key("versions").properties.version, made[-1])
        self.same(self.keys.get_key("versions", made[0]).properties.version, made[0])
        self.same(list(self.keys.list_properties_of_key_versions("never-made")), [])
        with self.assertRaises(ResourceNotFoundError):
            self.keys.get_key("versions", "0" * 32)
        self.refused(404, "KeyNotFound", None, self.keys.get_key, "never-made")
        other = self.keys.create_rsa_key("versions", size=2048)
        self.same((other.key_type, self.keys.get_key("versions").key_type), ("RSA", "RSA"))
        self.same(self.keys.get_key("versions", made[-1]).key_type, "EC", "a version of another type changes no other")

    def test_names(self):
        made = self.keys.create_ec_key("Mixed-Case-1")
        self.same(self.keys.get_key("mixed-CASE-1").properties.version, made.properties.version)
        self.holds("/keys/Mixed-Case-1/" in self.keys.get_key("mixed-case-1").id, "ids keep the caller's spelling")
        self.same(self.keys.create_ec_key("-" + "a" * 126).name, "-" + "a" * 126)

    def test_rotation(self):
        first = self.keys.create_rsa_key("rotated", size=3072, key_operations=["wrapKey", "unwrapKey"])
        usual = self.keys.get_key_rotation_policy("rotated")
        self.same([(a.action, a.time_before_expiry) for a in usual.lifetime_actions], [("Notify", "P30D")])
        self.same((usual.expires_in, usual.created_on), (None, None))
        second = self.keys.rotate_key("rotated")
        self.same((len(second.key.n), sorted(second.key_operations)), (384, ["unwrapKey", "wrapKey"]))
        self.holds(second.key.n != first.key.n)
        actions = [KeyRotationLifetimeAction(KeyRotationPolicyAction.rotate, time_after_create="P2M"),
                   KeyRotationLifetimeAction(KeyRotationPolicyAction.notify, time_before_expiry="P30D")]
        policy = self.keys.update_key_rotation_policy(
            "rotated", KeyRotationPolicy(), lifetime_actions=actions, expires_in="P90D")
        self.same(policy.expires_in, "P90D")
        self.same(policy.id, f"{self.deployment.url()}/keys/rotated/rotationpolicy")
        policy = self.keys.get_key_rotation_policy("rotated")
        self.same({(a.action, a.time_after_create, a.time_before_expiry) for a in policy.lifetime_actions},
                  {("Rotate", "P2M", None), ("Notify", None, "P30D")})
        third = self.keys.rotate_key("rotated")
        due = third.properties.created_on + datetime.timedelta(days=90)
        self.holds(abs((third.properties.expires_on - due).total_seconds()) <= 2)
        cleared = self.keys.update_key_rotation_policy("rotated", KeyRotationPolicy(), lifetime_actions=[])
        self.same(cleared.lifetime_actions, [])
        old, new = CryptographyClient(first, self.credential), CryptographyClient(third, self.credential)
        wrapped = old.wrap_key("RSA-OAEP-256", b"k" * 32)
        self.same(old.unwrap_key("RSA-OAEP-256", wrapped.encrypted_key).key, b"k" * 32, "an older version goes on")
        self.refused(400, "BadParameter", None, new.unwrap_key, "RSA-OAEP-256", wrapped.encrypted_key)

    def test_backup_and_restore(self):
        key = self.keys.create_rsa_key("backed", size=2048, tags={"a": "b"})
        newer = self.keys.rotate_key("backed")
        wrapped = CryptographyClient(key, self.credential).wrap_key("RSA-OAEP", b"k" * 32).encrypted_key
        if self.deployment.has_token:
            error = self.refused(400, "NotSupported", None, self.keys.backup_key, "backed")
            self.holds(error.error.message)
            return
        blob = self.keys.backup_key("backed")
        with self.assertRaises(ResourceExistsError):
            self.keys.restore_key_backup(blob)
        self.keys.begin_delete_key("backed").wait()
        self.refused(409, "Conflict", "ObjectIsDeletedButRecoverable", self.keys.restore_key_backup, blob)
        self.keys.purge_deleted_key("backed")
        back = self.keys.restore_key_backup(blob)
        self.same((back.id, back.properties.tags), (newer.id, {"a": "b"}))
        versions = {item.version for item in self.keys.list_properties_of_key_versions("backed")}
        self.same(versions, {key.properties.version, newer.properties.version})
        old = CryptographyClient(self.keys.get_key("backed", key.properties.version), self.credential)
        self.same(old.unwrap_key("RSA-OAEP", wrapped).key, b"k" * 32)
        self.refused(400, "BadParameter", None, self.keys.restore_key_backup, blob[:-8] + b"damaged!")

    def test_delete_recover_purge(self):
        key = self.keys.create_rsa_key("deleted", size=2048)
        wrapped = CryptographyClient(key, self.credential).wrap_key("RSA-OAEP", b"k" * 32).encrypted_key
        other = self.keys.rotate_key("deleted")
        deleted = self.keys.begin_delete_key("deleted").result()
        self.same(deleted.recovery_id, f"{self.deployment.url()}/deletedkeys/deleted")
        self.same((deleted.scheduled_purge_date - deleted.deleted_date).days, 90)
        self.holds(abs(deleted.deleted_date.timestamp() - time.time()) < 60)
        self.same(self.keys.get_deleted_key("deleted").id, other.id)
        self.holds("deleted" in [item.name for item in self.keys.list_deleted_keys(max_page_size=3)])
        self.holds("deleted" not in [item.name for item in self.keys.list_properties_of_keys()])
        self.refused(404, "KeyNotFound", None, self.keys.get_key, "deleted")
        crypto = CryptographyClient(key.id, self.credential)
        self.refused(404, "KeyNotFound", None, crypto.unwrap_key, "RSA-OAEP", wrapped)
        self.refused(409, "Conflict", "ObjectIsDeletedButRecoverable", self.keys.create_ec_key, "deleted")
        self.refused(
            409, "Conflict", "ObjectIsDeletedButRecoverable", self.keys.import_key, "deleted",
            rsa_jwk(rsa.generate_private_key(65537, 2048)))
        self.same(self.keys.begin_recover_deleted_key("deleted").result().id, other.id)
        self.same(CryptographyClient(key.id, self.credential).unwrap_key("RSA-OAEP", wrapped).key, b"k" * 32)
        self.keys.begin_delete_key("deleted").wait()
        self.same(self.keys.purge_deleted_key("deleted"), None)
        self.refused(404, "KeyNotFound", None, self.keys.get_deleted_key, "deleted")
        self.refused(404, "KeyNotFound", None, self.keys.purge_deleted_key, "deleted")
        self.holds(self.keys.create_ec_key("deleted").id != other.id, "the name is free again")

    def test_purge_protection(self):
        deployment = self.deployment
        deployment.manage("vault", "create", "kept", "--purge-protection", "--soft-delete-days", "7")
        deployment.manage(
            "policy", "set", "kept", deployment.bootstrap["clientID"], "--keys", "create,get,delete,purge,recover",
            "--secrets", "set,get,delete,purge")
        with KeyClient(deployment.url("kept"), self.credential) as keys:
            key = keys.create_ec_key("k")
            self.same((key.properties.recovery_level, key.properties.recoverable_days), ("CustomizedRecoverable", 7))
            deleted = keys.begin_delete_key("k").result()
            self.same((deleted.scheduled_purge_date - deleted.deleted_date).days, 7)
            error = self.refused(403, "Forbidden", None, keys.purge_deleted_key, "k")
            self.holds('Operation "purge" is not allowed because purge protection is enabled' in error.error.message)
            self.same(keys.begin_recover_deleted_key("k").result().id, key.id)
