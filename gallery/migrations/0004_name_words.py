"""PostgreSQL's words of the names in a column of their own; see gallery/searching/postgres.py."""

import importlib

from django.db import migrations

_WORDS = importlib.import_module("gallery.migrations.0003_search")._WORDS


def make(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        column = f"name_words tsvector GENERATED ALWAYS AS ({_WORDS.format('name')}) STORED"
        schema_editor.execute(f"ALTER TABLE gallery_entry ADD COLUMN {column}", params=None)
        index = "gallery_entry_name_words ON gallery_entry USING gin (name_words) WITH (fastupdate = off)"
        schema_editor.execute(f"CREATE INDEX {index}", params=None)


def drop(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("ALTER TABLE gallery_entry DROP COLUMN name_words")


class Migration(migrations.Migration):
    dependencies = [("gallery", "0003_search")]

    operations = [migrations.RunPython(make, drop)]
