"""What finding and counting needs of a gallery, made when the gallery is read."""

from django.db import models


class SearchPart(models.Model):
    """The sets of one gallery's entries by facet, and the words for a mistyped one. `version` is what they are of."""

    gallery = models.OneToOneField("gallery.Gallery", on_delete=models.CASCADE, related_name="search_part")
    version = models.CharField(max_length=120)
    members = models.BinaryField()
    words = models.TextField(blank=True)

    objects = models.Manager["SearchPart"]()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.version
