from django.contrib.auth import get_user_model
from django.contrib.auth.forms import AuthenticationForm, BaseUserCreationForm


class SignInForm(AuthenticationForm):
    """Two fields; the error does not tell which of the two was wrong."""

    error_messages = {
        "invalid_login": "That name and password do not belong together. Check both and try again.",
        "inactive": "That name and password do not belong together. Check both and try again.",
    }


class FirstAdministratorForm(BaseUserCreationForm):
    class Meta:
        model = get_user_model()
        fields = ("username",)
        labels = {"username": "Name"}
        help_texts = {"username": ""}

    field_order = ["username", "password1", "password2"]

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.fields["password1"].help_text = "At least 12 characters, not a common word and not only digits."
        self.fields["password2"].help_text = ""
        self.fields["password2"].label = "Password again"
        self.fields["username"].widget.attrs.update({"autofocus": True, "autocomplete": "username"})

    def clean(self) -> dict[str, object]:
        cleaned = super().clean() or self.cleaned_data
        self.instance.is_staff = self.instance.is_superuser = True
        return cleaned
