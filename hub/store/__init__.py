"""The hub's store: SQLite, one file, written by ingest alone and read by everybody; readings lie in it as columns."""
