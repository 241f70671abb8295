"""The roles of team/roles.py as groups with their permissions, for migrations: each new permission needs one."""

from typing import Any

from django.contrib.auth.management import create_permissions

from team.roles import ROLES

_APPS = ("auth", "models", "gallery", "monitor")


def make_groups(apps: Any) -> None:
    """Make the groups that are missing, and give each what its role may do; what people added to one stays.

    `apps` is a registry, also a historical one: what no app knows yet is given by a later migration.
    """
    for label in _APPS:
        _make_permissions(apps, label)
    Permission = apps.get_model("auth", "Permission")
    for role, names in ROLES.items():
        group, _ = apps.get_model("auth", "Group").objects.get_or_create(name=role)
        for name in names:
            label, codename = name.split(".")
            group.permissions.add(*Permission.objects.filter(content_type__app_label=label, codename=codename))


def _make_permissions(apps: Any, label: str) -> None:
    config = apps.get_app_config(label)
    # One of a historical registry has no such module, and would be passed over.
    module = getattr(config, "models_module", None)
    config.models_module = module or True
    create_permissions(config, apps=apps, verbosity=0)
    config.models_module = module
