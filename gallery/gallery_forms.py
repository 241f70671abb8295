"""What a person says of a gallery. Its request headers go in here and never come out again."""

from typing import Any

from django import forms

from gallery.catalog import configured
from gallery.catalog.request_headers import BadHeaders, read_headers
from gallery.downloads.errors import DownloadError
from gallery.models import Gallery
from gallery.services.transport import origin, refuse
from localai_admin.lib.net import shown

MAX_MIRRORS = 20
#: A year.
MAX_MINUTES = 525_600

DEFAULT, EVERY, NEVER = "default", "every", "never"


class Secret(forms.Textarea):
    """Text that is sent and never shown: what was typed is not repeated, not even beside an error."""

    def format_value(self, value: Any) -> str:
        return ""


class GalleryForm(forms.Form):
    """A gallery that is added, or with `gallery` changed. After `is_valid()`, `facts` are fields of Gallery."""

    name = forms.CharField(max_length=configured.MAX_NAME, strip=True)
    url = forms.CharField(max_length=configured.MAX_URL, strip=True, label="Address")
    mirrors = forms.CharField(required=False, widget=forms.Textarea(attrs={"rows": 2}))
    schedule = forms.ChoiceField(label="Refresh")
    minutes = forms.IntegerField(required=False, min_value=1, max_value=MAX_MINUTES)
    removed = forms.MultipleChoiceField(
        required=False, widget=forms.CheckboxSelectMultiple, label="Headers that are kept"
    )
    headers = forms.CharField(required=False, widget=Secret(attrs={"rows": 2}), label="Request headers")
    check = forms.BooleanField(required=False, initial=True, label="Ask it now")

    def __init__(self, *args: Any, gallery: Gallery | None = None, default_minutes: int = 60, **kwargs: Any) -> None:
        initial = _initial(gallery) if gallery else {"schedule": DEFAULT, "minutes": default_minutes}
        super().__init__(*args, **{"label_suffix": "", "initial": initial, **kwargs})
        self.gallery = gallery
        self.is_fixed = gallery is not None and gallery.source != Gallery.CONSOLE
        self.kept = sorted(gallery.headers) if gallery else []
        self.fields["schedule"].choices = [  # type: ignore[attr-defined]  # it is a choice field
            (DEFAULT, f"As all galleries, every {default_minutes} minutes"),
            (EVERY, "Every so many minutes"),
            (NEVER, "Only by button"),
        ]
        self.fields["removed"].choices = [(name, name) for name in self.kept]  # type: ignore[attr-defined]
        if self.is_fixed:
            for field in ("name", "url", "mirrors"):
                self.fields[field].disabled = True
        for field in self.errors if self.is_bound else ():
            if field in self.fields:
                described = {"aria-invalid": "true", "aria-describedby": f"id_{field}_error"}
                self.fields[field].widget.attrs.update(described)

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if self.gallery and self.is_fixed:
            return self.gallery.name
        if problem := configured.name_problem(name):
            raise forms.ValidationError(f"This is a name {problem}")
        others = Gallery.objects.exclude(pk=self.gallery.pk) if self.gallery else Gallery.objects
        if others.filter(name=name).exists():
            raise forms.ValidationError("There is a gallery of this name already. Choose another name.")
        return name

    def clean_url(self) -> str:
        return self._address(self.cleaned_data["url"])

    def clean_mirrors(self) -> list[str]:
        lines = [line.strip() for line in self.cleaned_data["mirrors"].splitlines() if line.strip()]
        if len(lines) > MAX_MIRRORS:
            raise forms.ValidationError(f"There are {len(lines)} mirrors; {MAX_MIRRORS} are the most.")
        return [self._address(line) for line in dict.fromkeys(lines)]

    def clean_headers(self) -> dict[str, str]:
        try:
            return read_headers(self.cleaned_data["headers"])
        except BadHeaders as error:
            raise forms.ValidationError(f"{error} Type all of them again: they are not sent back.") from None

    def clean(self) -> dict[str, Any]:
        data = self.cleaned_data
        if data.get("schedule") == EVERY and not data.get("minutes") and "minutes" not in self.errors:
            self.add_error("minutes", "Say how many minutes, at least 1.")
        if "headers" in data:
            self._check_headers(data)
        return data

    @property
    def facts(self) -> dict[str, Any]:
        data = self.cleaned_data
        minutes = {DEFAULT: None, NEVER: 0}.get(data["schedule"], data["minutes"])
        facts: dict[str, Any] = {"refresh_minutes": minutes, "headers": self._headers(data)}
        return (
            facts if self.is_fixed else {"name": data["name"], "url": data["url"], "mirrors": data["mirrors"], **facts}
        )

    def _headers(self, data: dict[str, Any]) -> dict[str, str]:
        """Those that are kept, and the new ones; a new one replaces one of the same name, however that is written."""
        new: dict[str, str] = data["headers"]
        gone = {name.lower() for name in [*data.get("removed", ()), *new]}
        kept = self.gallery.headers if self.gallery else {}
        return {name: value for name, value in kept.items() if name.lower() not in gone} | new

    def _check_headers(self, data: dict[str, Any]) -> None:
        """Headers are for one host: they do not follow an address to another by themselves."""
        headers = self._headers(data)
        if not headers or "url" not in data:
            return
        home = origin(data["url"])
        if home is None:
            self.add_error("headers", "A file on this machine takes no headers. Leave them out.")
        elif self.gallery and set(headers) - set(data["headers"]) and origin(self.gallery.url) != home:
            self.add_error("headers", "The address is on another host now: type the headers again, or remove them.")

    def _address(self, address: str) -> str:
        if self.is_fixed:
            return address
        if "@" in address.partition("://")[2].partition("/")[0]:
            raise forms.ValidationError(
                f"{shown(address)} has a password in it, which pages and logs would show. Write it as a request header."
            )
        try:
            refuse(address)
        except DownloadError as error:
            raise forms.ValidationError(f"{error} {error.action}".strip()) from None
        return address


def _initial(gallery: Gallery) -> dict[str, Any]:
    minutes = gallery.refresh_minutes
    return {
        "name": gallery.name,
        "url": gallery.url,
        "mirrors": "\n".join(gallery.mirrors),
        "schedule": DEFAULT if minutes is None else EVERY if minutes else NEVER,
        "minutes": minutes or None,
        "check": False,
    }
