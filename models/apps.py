from django.apps import AppConfig


class ModelsConfig(AppConfig):
    name = "models"
    verbose_name = "Models and their backends"
    default_auto_field = "django.db.models.BigAutoField"
