from django.apps import AppConfig


class SiteConfig(AppConfig):
    name = "localai_admin"
    verbose_name = "LocalAI Admin"
    default_auto_field = "django.db.models.BigAutoField"
