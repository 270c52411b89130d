"""What a scan says, in the language of the person's locale."""

import os
from collections.abc import Mapping

from runtime.language import speaks_chinese

_WORDS = {
    "sure": ("known by what it says of itself", "由设备自报信息确认"),
    "plausible": (
        "likely: all that the model has is there and plausible; please check",
        "可能：该型号的全部数据均可读取且合理；请核对",
    ),
    "fits too: {}": ("fits too: {}", "也符合：{}"),
    "{} unknown: {}": ("{} fits no known model: {}", "{} 不符合任何已知型号：{}"),
    "answers": ("answers Modbus requests", "应答 Modbus 请求"),
    "every unit": ("answers for every unit id", "对每个站号都应答"),
    "advertises {}": ("advertises {}", "广播 {}"),
    "sealed": ("encrypted: add key_file with its key", "已加密：请在 key_file 中给出密钥"),
    "{} units at {}": ("{}: unit {} of {}", "{}：站号 {}/{}"),
    "listening {} {}": ("{}: listening at {} baud", "{}：以 {} 波特监听"),
    "asking {} {}": ("{}: asking for {}", "{}：询问 {}"),
    "advertisements {}": ("{}: listening for advertisements", "{}：监听广播"),
    "found {}": ("{} found", "已找到 {} 个"),
    "head": (
        "Put what follows into the gateway's config, and give the things names of your own.",
        "请将以下内容放入网关配置，并为各设备取自己的名称。",
    ),
    "nothing": ("Nothing was found on {}.", "在 {} 上未找到任何设备。"),
    "no targets": (
        "there is no port in /dev/serial/by-id; say where to look: --tcp HOST, --serial PORT, --ble bluez",
        "/dev/serial/by-id 中没有端口；请指明查找位置：--tcp 主机、--serial 端口、--ble bluez",
    ),
}


def word(key: str, *values: object, environ: Mapping[str, str] = os.environ) -> str:
    """A text in English or Chinese, with the values in it."""
    return _WORDS[key][speaks_chinese(environ)].format(*values)
