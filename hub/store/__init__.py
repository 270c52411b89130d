"""The hub's store: SQLite, one file, written by ingest alone and read by web."""
