"""The READMEs keep their word: links lead somewhere, commands exist, both languages say the same."""

import re
import subprocess
from pathlib import Path

import pytest

from edge.config import Config, load_config
from hardware.catalogue import catalogue

ROOT = Path(__file__).parent.parent
READMES = [ROOT / "README.md", ROOT / "README.zh.md"]
PAGES = [*READMES, ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", path.read_text(), re.DOTALL)


def commands(path: Path) -> list[str]:
    return [line.split("#")[0].strip() for block in blocks(path, "sh") for line in block.splitlines() if line]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text())
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert missing == []


def test_both_languages_give_the_same_commands_links_and_diagrams():
    english, chinese = READMES
    assert commands(english) == commands(chinese)
    assert blocks(english, "toml") == blocks(chinese, "toml")
    links = [
        sorted(re.findall(r"\]\(([^)]+)\)", page.read_text().replace("README.zh.md", "README.md"))) for page in READMES
    ]
    assert links[0] == links[1]
    arrows = [re.sub(r'"[^"]*"|\[[^\]]*\]', "", blocks(page, "mermaid")[0]) for page in READMES]
    assert arrows[0] == arrows[1]


def test_the_commands_are_those_of_the_front_door():
    usage = subprocess.run([ROOT / "kerb", "help"], capture_output=True, text=True, check=True).stdout
    known = set(re.findall(r"^  (\w+) ", usage, re.MULTILINE))
    assert known == {"demo", "test", "check", "edge", "hub", "hardware", "firmware", "plan", "docs", "bench"}
    given = [command.split() for command in commands(READMES[0])]
    assert given
    for program, command, *_ in given:
        assert program == "./kerb"
        assert command in known


def test_an_unknown_command_is_one_sentence_and_exit_2():
    done = subprocess.run([ROOT / "kerb", "fly"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "there is no command fly" in done.stderr


def test_the_example_configs_are_good(tmp_path):
    example = load_config(ROOT / "hardware/sim/example.toml")
    assert {device.model for _, device in example.devices()} <= set(catalogue())
    head = (ROOT / "hardware/sim/example.toml").read_text().split("[[links]]")[0]
    path = tmp_path / "readme.toml"
    path.write_text(head + blocks(READMES[0], "toml")[0])
    assert load_config(path).links[0].name == "meters"


def test_the_config_page_names_every_key():
    page = (ROOT / "docs/gateway.md").read_text()
    for table in ("gateway", "uplink", "outbox", "page"):
        for key in Config.model_fields[table].annotation.model_fields:
            assert key in page, f"{table}.{key} is not documented"


def test_no_registry_and_no_path_of_a_machine_in_what_is_committed():
    files = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True, cwd=ROOT).stdout.split("\n")
    words = [
        "pypi" + ".org",
        "pythonhosted" + ".org",
        "npmjs" + ".org",
        "deb.debian" + ".org",
        "/ro" + "ot/",
        "/wo" + "rk/",
    ]
    for name in filter(None, files):
        text = (ROOT / name).read_text(errors="replace")
        assert not [word for word in words if word in text], name
