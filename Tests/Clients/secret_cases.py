"""Secrets by the SDK, every route."""

import datetime

from azure.core.exceptions import ResourceExistsError
from azure.keyvault.secrets import SecretClient

from deployment import ClientTest


class SecretCases(ClientTest):
    def setUp(self):
        self.credential = self.deployment.credential()
        self.secrets = SecretClient(self.deployment.url(), self.credential)

    def tearDown(self):
        self.secrets.close()
        self.credential.close()

    def test_set_and_get(self):
        begin = datetime.datetime(2024, 1, 2, tzinfo=datetime.timezone.utc)
        end = datetime.datetime(2031, 1, 2, tzinfo=datetime.timezone.utc)
        text = "päss wörd \"'\\ \U0001f511 \n\t"
        made = self.secrets.set_secret(
            "first", text, content_type="text/plain", tags={"a": "b"}, not_before=begin, expires_on=end)
        found = self.secrets.get_secret("first")
        self.same((made.value, found.value), (text, text))
        self.same(found.properties.content_type, "text/plain")
        self.same(found.properties.tags, {"a": "b"})
        self.same((found.properties.not_before, found.properties.expires_on), (begin, end))
        self.same(found.id, f"{self.deployment.url()}/secrets/first/{found.properties.version}")
        self.same(self.secrets.get_secret("FIRST", made.properties.version).value, text)
        for value in ("", "x" * 25_600, "ö" * 12_800):
            self.secrets.set_secret("sizes", value)
            self.same(self.secrets.get_secret("sizes").value, value)
        self.refused(400, "BadParameter", None, self.secrets.set_secret, "sizes", "x" * 25_601)
        self.refused(404, "SecretNotFound", None, self.secrets.get_secret, "never-made")
        self.refused(404, "SecretNotFound", None, self.secrets.get_secret, "first", "0" * 32)

    def test_update(self):
        made = self.secrets.set_secret("updated", "value", tags={"a": "b"})
        later = self.secrets.update_secret_properties("updated", content_type="application/json", enabled=True)
        self.same((later.content_type, later.tags, later.version),
                  ("application/json", {"a": "b"}, made.properties.version))
        later = self.secrets.update_secret_properties("updated", made.properties.version, tags={})
        self.same(later.tags or {}, {})
        self.same(self.secrets.get_secret("updated").value, "value")
        self.secrets.update_secret_properties("updated", enabled=False)
        self.refused(403, "Forbidden", "SecretDisabled", self.secrets.get_secret, "updated")
        past = datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc)
        self.secrets.update_secret_properties("updated", enabled=True, expires_on=past)
        self.same(self.secrets.get_secret("updated").value, "value", "an expired secret is shown")

    def test_lists(self):
        wanted = {f"listed-{i:02}" for i in range(28)}
        for name in wanted:
            self.secrets.set_secret(name, name)
        found = list(self.secrets.list_properties_of_secrets(max_page_size=6))
        self.holds(wanted <= {item.name for item in found})
        self.same(len(found), len({item.name for item in found}))
        self.holds(all(item.version is None for item in found))
        versions = [self.secrets.set_secret("listed-00", str(i)).properties.version for i in range(4)]
        listed = self.secrets.list_properties_of_secret_versions("listed-00", max_page_size=2)
        listed = [item.version for item in listed]
        self.holds(set(versions) <= set(listed) and len(listed) == 5)
        self.same(self.secrets.get_secret("listed-00", versions[1]).value, "1")
        self.same(list(self.secrets.list_properties_of_secret_versions("never-made")), [])

    def test_delete_recover_purge(self):
        made = self.secrets.set_secret("deleted", "value")
        deleted = self.secrets.begin_delete_secret("deleted").result()
        self.same(deleted.recovery_id, f"{self.deployment.url()}/deletedsecrets/deleted")
        self.same((deleted.scheduled_purge_date - deleted.deleted_date).days, 90)
        self.same(self.secrets.get_deleted_secret("deleted").name, "deleted")
        self.holds("deleted" in [item.name for item in self.secrets.list_deleted_secrets(max_page_size=2)])
        self.refused(404, "SecretNotFound", None, self.secrets.get_secret, "deleted")
        self.refused(409, "Conflict", "ObjectIsDeletedButRecoverable", self.secrets.set_secret, "deleted", "other")
        self.secrets.begin_recover_deleted_secret("deleted").wait()
        self.same(self.secrets.get_secret("deleted").id, made.id)
        self.secrets.begin_delete_secret("deleted").wait()
        self.same(self.secrets.purge_deleted_secret("deleted"), None)
        self.refused(404, "SecretNotFound", None, self.secrets.get_deleted_secret, "deleted")

    def test_backup_and_restore(self):
        first = self.secrets.set_secret("backed", "one", tags={"a": "b"}, content_type="text/plain")
        second = self.secrets.set_secret("backed", "two")
        blob = self.secrets.backup_secret("backed")
        with self.assertRaises(ResourceExistsError):
            self.secrets.restore_secret_backup(blob)
        self.secrets.begin_delete_secret("backed").wait()
        self.secrets.purge_deleted_secret("backed")
        back = self.secrets.restore_secret_backup(blob)
        self.same((back.name, back.version), ("backed", second.properties.version))
        self.same(self.secrets.get_secret("backed", first.properties.version).value, "one")
        self.same(self.secrets.get_secret("backed", first.properties.version).properties.tags, {"a": "b"})
        self.refused(400, "BadParameter", None, self.secrets.restore_secret_backup, b"no backup at all")
