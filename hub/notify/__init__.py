"""Telling people and programs of alarms: by signed webhook and by e-mail, from an outbox that outlasts restarts."""
