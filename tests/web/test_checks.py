"""What Django itself has to say of the console's code: a start does not ask it any more."""

import pytest
from django.core.management import call_command


@pytest.mark.django_db
def test_django_has_nothing_to_say_against_the_console(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("check", fail_level="WARNING")
    assert "no issues" in capsys.readouterr().out
