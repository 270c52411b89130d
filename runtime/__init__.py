"""What Kerb's CPython programs share: the embedded broker, the MQTT client, TOML files that know their lines."""
