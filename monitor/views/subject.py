"""What the pages about one model are about: its instance on this node, its configuration, or both."""

from typing import NamedTuple

from django.http import Http404

from models import services
from models.configs import ModelConfig
from models.models import Instance


class Subject(NamedTuple):
    """A model with a configuration, an instance that outlived its configuration, or both."""

    name: str
    instance: Instance | None
    config: ModelConfig | None


def find(name: str) -> Subject:
    """One query. An alias means the model it stands for. Raises Http404 when nothing here has the name."""
    config = services.find_config(name)
    name = config.name if config else name
    instance = Instance.objects.on_this_node().filter(name=name).first()
    if instance is None and config is None:
        raise Http404
    return Subject(name, instance, config)
