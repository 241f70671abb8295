"""What a person says when importing a model that is in no gallery."""

from typing import Any

from django import forms

from gallery.catalog.written import MAX_BYTES
from gallery.forms import name_problem
from gallery.hub.configuration import CONTEXT_SIZE, USECASES
from localai_admin.lib.paths import MAX_MODEL_NAME_BYTES

_CODE = {"autocomplete": "off", "spellcheck": "false", "autocapitalize": "off"}


class _Form(forms.Form):
    """Its fields say what is wrong with them to those who hear the page, too."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", **kwargs})
        for name, field in self.fields.items():
            if field.help_text:
                field.widget.attrs["aria-describedby"] = f"id_{name}_helptext"

    def refuse(self, field: str, error: Exception) -> None:
        """Say beside a field what an error says, and what can be done."""
        self.add_error(field, f"{error} {getattr(error, 'action', '')}".strip())

    def mark(self) -> None:
        """Name the errors in the fields that have them; once everything is known to be wrong that is."""
        for name in self.errors:
            if name in self.fields:
                described = {"aria-invalid": "true", "aria-describedby": f"id_{name}_error"}
                self.fields[name].widget.attrs.update(described)


class NamedForm(_Form):
    """`chosen_name` is the name that was typed; empty leaves it to what is imported."""

    name = forms.CharField(
        required=False,
        strip=True,
        max_length=MAX_MODEL_NAME_BYTES,
        label="Name on this host",
        help_text="Optional: it has one of its own, or gets one.",
        widget=forms.TextInput(attrs=_CODE),
    )

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if problem := name_problem(name):
            raise forms.ValidationError(problem)
        return name

    @property
    def chosen_name(self) -> str:
        name: str = self.cleaned_data["name"]
        return name


class AddressForm(NamedForm):
    address = forms.CharField(
        max_length=2000,
        strip=True,
        label="Address",
        help_text="Of a recipe or of a model's configuration: https://, github:owner/repo/path@branch, "
        "huggingface://owner/repo/file, or file:// below an allowed folder.",
        widget=forms.TextInput(attrs={**_CODE, "placeholder": "https://example.org/model.yaml", "inputmode": "url"}),
    )
    field_order = ("address", "name")


class TextForm(NamedForm):
    text = forms.CharField(
        strip=False,
        max_length=MAX_BYTES,
        label="YAML or JSON",
        help_text="A recipe, a model's configuration, or an entry with id, url, config_file, overrides or files.",
        widget=forms.Textarea(attrs={**_CODE, "rows": 16, "class": "mono", "wrap": "off"}),
    )
    field_order = ("text", "name")


class _ModelForm(NamedForm):
    usecase = forms.ChoiceField(choices=[*USECASES, ("", "Something else")], required=False, label="Use case")
    context_size = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=10_000_000,
        label="Context in tokens",
        widget=forms.TextInput(attrs={"inputmode": "numeric", "autocomplete": "off"}),
        help_text="For GGUF models. More context takes more memory.",
    )


class PathForm(_ModelForm):
    path = forms.CharField(
        max_length=4000,
        strip=True,
        label="Path",
        help_text="Of weights (GGUF and others) or of a configuration in YAML.",
        widget=forms.TextInput(attrs={**_CODE, "placeholder": "/srv/models/model.gguf"}),
    )
    field_order = ("path", "name", "usecase", "context_size")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(
            *args,
            **{
                **kwargs,
                "initial": {"usecase": USECASES[0][0], "context_size": CONTEXT_SIZE, **(kwargs.get("initial") or {})},
            },
        )


class ChoiceForm(_ModelForm):
    """Which files of a repository, and what they become. The repository's own are checked where it is known."""

    choice = forms.CharField(max_length=1000, strip=False, error_messages={"required": "Choose what to install."})
    companion = forms.CharField(max_length=1000, strip=False, required=False)


class ListForm(_Form):
    """A list that is pasted, or uploaded as a file: `content` is what came, the file first."""

    text = forms.CharField(
        strip=False,
        required=False,
        max_length=MAX_BYTES,
        label="List",
        help_text="JSON or YAML, as LocalAI's PRELOAD_MODELS: items with id, url, name, overrides and files.",
        widget=forms.Textarea(attrs={**_CODE, "rows": 12, "class": "mono", "wrap": "off"}),
    )
    file = forms.FileField(
        required=False,
        label="Or a file",
        help_text="A .yaml or .json of up to 1 MiB.",
        widget=forms.FileInput(attrs={"accept": ".yaml,.yml,.json,application/json,text/yaml"}),
    )

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        file = data.get("file")
        if file and file.size > MAX_BYTES:
            self.add_error("file", f"The file is larger than {MAX_BYTES >> 20} MiB. Split the list.")
        elif not file and not data.get("text") and not self.errors:
            self.add_error("text", 'Paste a list, or choose a file. An empty list is "[]".')
        return data

    @property
    def content(self) -> str | bytes:
        file = self.cleaned_data["file"]
        return bytes(file.read(MAX_BYTES + 1)) if file else str(self.cleaned_data["text"])
