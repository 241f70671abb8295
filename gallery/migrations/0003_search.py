"""Full-text search by the database itself, and the sets of entries that facets are counted with.

What is in the index follows the rows by itself: by triggers in SQLite, by a generated column in PostgreSQL. A later
migration that makes Django build SQLite's table of entries anew loses the triggers and has to make them again.
"""

import django.db.models.deletion
from django.db import migrations, models

SQLITE = [
    """CREATE VIRTUAL TABLE gallery_entry_words USING fts5(
        name, tags, search, content='gallery_entry', content_rowid='id',
        tokenize='unicode61 remove_diacritics 2', prefix='2 3')""",
    """CREATE TRIGGER gallery_entry_words_insert AFTER INSERT ON gallery_entry BEGIN
        INSERT INTO gallery_entry_words(rowid, name, tags, search) VALUES (new.id, new.name, new.tags, new.search);
    END""",
    """CREATE TRIGGER gallery_entry_words_delete AFTER DELETE ON gallery_entry BEGIN
        INSERT INTO gallery_entry_words(gallery_entry_words, rowid, name, tags, search)
        VALUES ('delete', old.id, old.name, old.tags, old.search);
    END""",
    """CREATE TRIGGER gallery_entry_words_update AFTER UPDATE ON gallery_entry
    WHEN old.name <> new.name OR old.tags <> new.tags OR old.search <> new.search BEGIN
        INSERT INTO gallery_entry_words(gallery_entry_words, rowid, name, tags, search)
        VALUES ('delete', old.id, old.name, old.tags, old.search);
        INSERT INTO gallery_entry_words(rowid, name, tags, search) VALUES (new.id, new.name, new.tags, new.search);
    END""",
    "INSERT INTO gallery_entry_words(gallery_entry_words) VALUES ('rebuild')",
]
SQLITE_BACK = [
    "DROP TRIGGER gallery_entry_words_insert",
    "DROP TRIGGER gallery_entry_words_delete",
    "DROP TRIGGER gallery_entry_words_update",
    "DROP TABLE gallery_entry_words",
]

# Words are what stands between signs: PostgreSQL's own reading would take llama.cpp for the name of a host. Its longest
# list of words is 1 MB.
_WORDS = "to_tsvector('simple', regexp_replace(lower(left({}, 100000)), '[^[:alnum:]]+', ' ', 'g'))"
POSTGRES = [
    f"""ALTER TABLE gallery_entry ADD COLUMN words tsvector GENERATED ALWAYS AS (
        setweight({_WORDS.format("name")}, 'A') || setweight({_WORDS.format("tags::text")}, 'B')
        || setweight({_WORDS.format("search")}, 'D')) STORED""",
    "CREATE INDEX gallery_entry_words ON gallery_entry USING gin (words) WITH (fastupdate = off)",
]
POSTGRES_BACK = ["ALTER TABLE gallery_entry DROP COLUMN words"]


def _execute(schema_editor, sqlite, postgres):
    for statement in {"sqlite": sqlite, "postgresql": postgres}[schema_editor.connection.vendor]:
        schema_editor.execute(statement, params=None)


def make_index(apps, schema_editor):
    _execute(schema_editor, SQLITE, POSTGRES)


def drop_index(apps, schema_editor):
    _execute(schema_editor, SQLITE_BACK, POSTGRES_BACK)


class Migration(migrations.Migration):
    dependencies = [
        ("gallery", "0002_installs"),
    ]

    operations = [
        migrations.DeleteModel(name="EntryTag"),
        migrations.AlterField(
            model_name="entry",
            name="search",
            field=models.TextField(blank=True, help_text="Name, tags and description, as they are searched."),
        ),
        migrations.CreateModel(
            name="SearchPart",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("version", models.CharField(max_length=120)),
                ("members", models.BinaryField()),
                ("words", models.TextField(blank=True)),
                (
                    "gallery",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE, related_name="search_part", to="gallery.gallery"
                    ),
                ),
            ],
            options={
                "default_permissions": (),
            },
        ),
        migrations.RunPython(make_index, drop_index),
    ]
