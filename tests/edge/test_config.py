"""The gateway's config: what is wrong is named with its line and key; `check` says what would be done."""

import subprocess
import sys

import pytest

from edge.config import load_config
from hardware.catalogue import DEVICES
from runtime.toml import TomlFileError

GOOD = """\
[gateway]
id = "gw-1"
name = { en = "Home", zh = "家" }

[uplink]
kind = "hub"
url = "mqtts://hub.example:8884"
ca = "ca.pem"
certificate = "gateway.pem"
key = "gateway.key"

[[links]]
name = "meters"
kind = "modbus"
host = "127.0.0.1"
devices = [{ thing = "meter-1", model = "eastron-sdm120", address = "1" }]

[[links]]
name = "wearables"
kind = "mqtt"
devices = [{ thing = "wearable-1", model = "kerb-wearable" }]
"""


@pytest.fixture
def write(tmp_path):
    for name in ("ca.pem", "gateway.pem", "gateway.key"):
        (tmp_path / name).write_text("secret")

    def write(text):
        path = tmp_path / "gateway.toml"
        path.write_text(text)
        return path

    return write


def test_a_good_config(write):
    config = load_config(write(GOOD))
    assert [device.thing for _, device in config.devices()] == ["meter-1", "wearable-1"]
    assert config.path(config.gateway.data).is_absolute()
    assert (config.uplink.host, config.uplink.port) == ("hub.example", 8884)


def test_plain_mqtt_is_for_another_broker_on_this_machine(write):
    tls = 'ca = "ca.pem"\ncertificate = "gateway.pem"\nkey = "gateway.key"\n'
    text = GOOD.replace('"hub"', '"mqtt"').replace(tls, "").replace("mqtts://hub.example:8884", "mqtt://127.0.0.1")
    assert load_config(write(text)).uplink.port == 1883


@pytest.mark.parametrize(
    ("old", "new", "line", "key", "reason"),
    [
        ('id = "gw-1"', 'id = "gw 1"', 2, "gateway.id", "pattern"),
        ('kind = "hub"', 'kind = "cloud"', 6, "uplink.kind", "'hub' or 'mqtt'"),
        ('kind = "modbus"', 'kind = "canbus"', 12, "links.0", "canbus"),
        ('address = "1"', 'address = "x"', 12, "links.0", "unit id"),
        (
            'host = "127.0.0.1"\ndevices = [{ thing = "meter-1", model = "eastron-sdm120", address = "1" }]',
            'serial = { port = "tty" }\ndevices = [{ thing = "meter-1", model = "eastron-sdm120", address = "0" }]',
            12,
            "links.0",
            "that is all devices",
        ),
        ("eastron-sdm120", "eastron-sdm999", 16, "links.0.devices.0.model", "no such model"),
        ('host = "127.0.0.1"', 'host = "127.0.0.1"\nprot = 502', 16, "links.0.prot", "no such key"),
        ("mqtts://hub.example:8884", "mqtt://hub.example:1883", 7, "uplink.url", "mqtts://"),
        ("mqtts://hub.example:8884", "mqtt://127.0.0.1:1883", 5, "uplink", "kind hub needs mqtts://"),
        ("mqtts://hub.example:8884", "http://hub.example", 7, "uplink.url", "mqtts://HOST"),
        ('ca = "ca.pem"\n', "", 5, "uplink", "kind hub needs ca, certificate and key"),
        (
            'certificate = "gateway.pem"\nkey = "gateway.key"\n',
            "",
            5,
            "uplink",
            "kind hub needs ca, certificate and key",
        ),
        ('key = "gateway.key"', 'username = "gw-1"', 5, "uplink", "kind hub needs ca, certificate and key"),
        ('key = "gateway.key"', 'key = "gateway.key"\nusername = "gw-1"', 5, "uplink", "the certificate alone"),
        ('"gateway.key"', '"none.key"', 10, "uplink.key", "no such file"),
        ('kind = "hub"', "", 5, "uplink.kind", "required"),
        ('kind = "hub"', 'kind = "hub', 6, "", "not TOML"),
        ("wearable-1", "meter-1", 21, "links.1.devices", "meter-1 is another"),
        ('name = "wearables"', 'name = "meters"', 19, "links.1.name", "another link"),
        ("kerb-wearable", "nonin-3230", 21, "links.1.devices", "is a ble device"),
        (
            'model = "kerb-wearable"',
            'model = "kerb-wearable", password_file = "w.password"',
            21,
            "links.1.devices.0.password_file",
            "no such key",
        ),
    ],
)
def test_a_mistake_is_named(write, old, new, line, key, reason):
    with pytest.raises(TomlFileError) as caught:
        load_config(write(GOOD.replace(old, new)))
    error = caught.value
    assert reason in error.reason
    assert error.line == line
    assert key in error.key
    assert "gateway.toml" in str(error)


def edge(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "edge", *arguments], capture_output=True, text=True, timeout=30, check=False
    )


def test_check_says_what_would_be_done(write):
    done = edge("check", str(write(GOOD)))
    assert done.returncode == 0
    for word in ("gw-1", "家", "mqtts://hub.example:8884", "meter-1", "voltage [V]", "own broker"):
        assert word in done.stdout


def test_check_of_a_bad_config_is_one_sentence_and_exit_2(write, tmp_path):
    done = edge("check", str(write(GOOD.replace('"hub"', '"cloud"'))))
    assert done.returncode == 2
    assert "gateway.toml:6: uplink.kind" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    done = edge("check", str(tmp_path / "none.toml"))
    assert done.returncode == 2
    assert "there is no such file" in done.stderr


def test_a_site_has_models_of_its_own(write, tmp_path):
    text = GOOD.replace("[gateway]", '[gateway]\nmodels = "own"').replace(
        'model = "eastron-sdm120"', 'model = "my-meter"'
    )
    with pytest.raises(TomlFileError, match="no such folder"):
        load_config(write(text))
    (tmp_path / "own").mkdir()
    with pytest.raises(TomlFileError, match="no such model"):
        load_config(write(text))
    declared = (DEVICES / "eastron-sdm120.toml").read_text(encoding="utf-8")
    own = tmp_path / "own" / "my-meter.toml"
    own.write_text(declared.replace('model = "eastron-sdm120"', 'model = "my-meter"'), encoding="utf-8")
    (_, meter), *_ = load_config(write(text)).devices()
    assert meter.declared.device.model == "my-meter"
    assert meter.declared.device.maker == "Eastron"
    own.rename(tmp_path / "own" / "eastron-sdm120.toml")
    (tmp_path / "own" / "eastron-sdm120.toml").write_text(declared, encoding="utf-8")
    with pytest.raises(TomlFileError, match="is a model of Kerb's"):
        load_config(write(text))


RULE = """
[[rules]]
id = "surge"
version = 1
name = { en = "Surge", zh = "电压过高" }
priority = "high"
things = ["meter-*", "other-1"]
when = { metric = "voltage", unit = "V", above = 250 }
"""


def test_alarm_rules_are_loaded_and_check_says_what_they_are_for(write, tmp_path):
    path = write(GOOD + '[alarms]\nrules = "rules"\n')
    with pytest.raises(TomlFileError, match="no such file"):
        load_config(path)
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "a.toml").write_text(RULE)
    config = load_config(path)
    assert [(rule.id, thing) for rule, thing in config.placed_rules()] == [("surge", "meter-1")]
    for more, said in (("", "for meter-1"), ('at = "hub"\n', "for nothing here")):
        (tmp_path / "rules" / "a.toml").write_text(RULE + more)
        done = edge("check", str(path))
        assert "alarm surge, version 1: Surge, high" in done.stdout
        assert said in done.stdout


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('unit = "V"', 'unit = "kV"', "voltage of meter-1 is in 'V', not in 'kV'"),
        ('"voltage", unit', '"voltage", thing = "x", unit', "there is no thing x here"),
        ('"voltage", unit', '"speed", thing = "meter-1", unit', "meter-1 has no metric speed"),
        ('"meter-*"', '"meter-1"', None),
        ('"meter-*", "other-1"], when', "", None),
        ('metric = "voltage"', 'metric = "speed"', None),
        ("[[rules]]", '[[rules]]\ncommands = [{ thing = "s", command = "c", on = 1 }]', "there is no thing s here"),
        (
            "[[rules]]",
            '[[rules]]\ncommands = [{ thing = "meter-1", command = "c", on = 1 }]',
            "meter-1 has no command c",
        ),
        ("above = 250", "above = true", "must be a number"),
    ],
)
def test_a_rule_that_does_not_fit_is_named(write, tmp_path, old, new, reason):
    path = write(GOOD + '[alarms]\nrules = "rules.toml"\n')
    (tmp_path / "rules.toml").write_text(RULE.replace(old, new))
    if reason is None:
        assert load_config(path).rules[0].id == "surge"
    else:
        with pytest.raises(TomlFileError, match=reason) as caught:
            load_config(path)
        assert caught.value.path == tmp_path / "rules.toml"


def test_a_rule_for_a_thing_by_name_needs_its_metric_and_no_thing_is_called_alarms(write, tmp_path):
    path = write(GOOD + '[alarms]\nrules = "rules.toml"\n')
    (tmp_path / "rules.toml").write_text(RULE.replace('"meter-*"', '"wearable-1"'))
    with pytest.raises(TomlFileError, match="wearable-1 has no metric voltage"):
        load_config(path)
    with pytest.raises(TomlFileError, match="alarms is what"):
        load_config(write(GOOD.replace("wearable-1", "alarms")))
