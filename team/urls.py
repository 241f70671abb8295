from django.urls import path

from team import views

app_name = "team"
urlpatterns = [
    path("sign-in/", views.sign_in, name="sign_in"),
    path("sign-out/", views.sign_out, name="sign_out"),
    path("welcome/<str:token>/", views.welcome, name="welcome"),
]
