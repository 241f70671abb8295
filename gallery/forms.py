"""What a person says when installing: the model's name here, if it shall be another."""

import re
from typing import Any

from django import forms

from localai_admin.lib.paths import MAX_MODEL_NAME_BYTES, is_model_name

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class InstallForm(forms.Form):
    """One optional field; empty means the entry's own name."""

    name = forms.CharField(required=False, strip=True, max_length=MAX_MODEL_NAME_BYTES)

    def __init__(self, *args: Any, entry_name: str, **kwargs: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", **kwargs})
        self.entry_name = entry_name
        field = self.fields["name"]
        field.label = "Name on this host"
        field.help_text = "Optional. Letters, digits, dots, dashes and underscores are best."
        field.widget.attrs.update({"placeholder": entry_name, "autocomplete": "off", "spellcheck": "false"})
        if self.is_bound and "name" in self.errors:
            field.widget.attrs.update({"aria-invalid": "true"})

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if problem := name_problem(name):
            raise forms.ValidationError(problem)
        return name

    @property
    def wanted_name(self) -> str:
        """The name to install as. Only after `is_valid()`."""
        return self.cleaned_data["name"] or self.entry_name


def name_problem(name: str) -> str:
    """Why this cannot be the name of a model, and what would do; empty when it can, or when there is none."""
    if _CONTROL.search(name):
        return "This name has control characters in it. Type it again without them."
    if "/" in name or "\\" in name:
        return "A name has no slash in it: the model's files are put where the gallery says. Use a dash instead."
    if name.startswith("."):
        return "A name that begins with a dot would be hidden. Begin with a letter or a digit."
    if len(name.encode()) > MAX_MODEL_NAME_BYTES:
        return f"This name is longer than {MAX_MODEL_NAME_BYTES} bytes. Choose a shorter one."
    if name and not is_model_name(name):
        return "No file can have this name. Use letters, digits, dots, dashes and underscores."
    return ""
