"""The roles of team/roles.py as groups with their permissions."""

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from localai_admin import roles


def make_groups(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    roles.make_groups(apps)


class Migration(migrations.Migration):
    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("models", "0001_initial"),
        ("gallery", "0001_initial"),
        ("monitor", "0001_initial"),
    ]
    operations = [migrations.RunPython(make_groups, migrations.RunPython.noop)]
