"""The roles of a team, as Django groups, and what each may do."""

VIEWER = (
    "models.view_instance",
    "models.view_instanceevent",
    "gallery.view_gallery",
    "gallery.view_entry",
    "gallery.view_job",
    "gallery.view_jobfile",
    "gallery.view_jobevent",
    "gallery.view_revision",
    "gallery.view_limits",
    "monitor.view_sample",
    "monitor.view_hostsample",
)
OPERATOR = (
    *VIEWER,
    "models.load_model",
    "models.stop_model",
    "models.prompt_model",
    "models.view_log",
)
INSTALLER = (
    *OPERATOR,
    "gallery.install_model",
    "gallery.import_model",
    "gallery.delete_model",
    "gallery.control_job",
    "gallery.refresh_gallery",
    "gallery.change_limits",
)
ADMINISTRATOR = (
    *INSTALLER,
    "gallery.add_gallery",
    "gallery.change_gallery",
    "gallery.delete_gallery",
    "auth.view_user",
    "auth.add_user",
    "auth.change_user",
    "auth.delete_user",
    "auth.view_group",
    "auth.add_group",
    "auth.change_group",
    "auth.delete_group",
)

ROLES: dict[str, tuple[str, ...]] = {
    "viewer": VIEWER,
    "operator": OPERATOR,
    "installer": INSTALLER,
    "administrator": ADMINISTRATOR,
}
