"""Stands for a package that is not installed: on the path of consoles that are to be as `make run` installs them.

Where it is installed, the queue's library loads it into every process, whatever the database: 0.2 s and 10 MB of each.
"""

raise ModuleNotFoundError("No module named 'psycopg'", name="psycopg")
