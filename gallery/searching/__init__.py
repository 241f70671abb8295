"""Finding entries by words and counting them by facets, at a thousand entries as at a hundred thousand."""
