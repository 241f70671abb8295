from django.apps import AppConfig
from django.contrib.auth.signals import user_logged_in

from team import sessions


class TeamConfig(AppConfig):
    name = "team"
    verbose_name = "Team"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        user_logged_in.connect(sessions.begin, dispatch_uid="team.sessions.begin")
