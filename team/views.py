"""Signing in and out, and the page that makes the first administrator."""

from django.contrib.auth import get_user_model, login
from django.contrib.auth.models import Group
from django.contrib.auth.views import LoginView, LogoutView
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST

from team import invitations
from team.access import public
from team.forms import FirstAdministratorForm, SignInForm


class _SignIn(LoginView):
    template_name = "team/sign_in.html"
    authentication_form = SignInForm
    redirect_authenticated_user = True

    def get_redirect_url(self, request: HttpRequest | None = None) -> str:
        """A page of the console that was asked for; not this one, which would lead in a circle."""
        wanted: str = super().get_redirect_url()
        return "" if wanted.partition("?")[0] == self.request.path else wanted


sign_in = public(_SignIn.as_view())
sign_out = public(require_POST(LogoutView.as_view()))


@public
@never_cache
@sensitive_post_parameters()
def welcome(request: HttpRequest, token: str) -> HttpResponse:
    """Make the first administrator by the link that `up` printed, and sign that person in."""
    if not invitations.is_good(token):
        return render(request, "team/welcome_over.html", status=410)
    form = FirstAdministratorForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        with transaction.atomic():
            if get_user_model().objects.select_for_update().exists():
                return render(request, "team/welcome_over.html", status=410)
            person = form.save()
            person.groups.set(Group.objects.filter(name="administrator"))
        login(request, person, backend="django.contrib.auth.backends.ModelBackend")
        return redirect("overview")
    return render(request, "team/welcome.html", {"form": form}, status=422 if form.errors else 200)
