"""`kerb edge provision`: gives a new device its config, and admits it to the gateway, by the secret on its label."""
