from django.apps import AppConfig


class GalleryConfig(AppConfig):
    name = "gallery"
    verbose_name = "Galleries and jobs"
    default_auto_field = "django.db.models.BigAutoField"
