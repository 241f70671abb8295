"""Whoever has a role already gets what it may do since plans, imports and limits are there."""

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from localai_admin import roles


def make_groups(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    roles.make_groups(apps)


class Migration(migrations.Migration):
    dependencies = [("localai_admin", "0001_roles"), ("gallery", "0002_installs")]
    operations = [migrations.RunPython(make_groups, migrations.RunPython.noop)]
