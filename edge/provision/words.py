"""What is said while a device is provisioned, in the language of the person's locale."""

import os
from collections.abc import Mapping

from runtime.language import speaks_chinese

_WORDS = {
    "scan": ("Scan the device's label: ", "请扫描设备标签："),
    "no label": ("no label was given on standard input", "标准输入中没有标签内容"),
    "reaching": ("looking for {} on {}", "正在 {1} 上查找 {0}"),
    "proven": ("{} has proven that it knows the secret of its label", "{} 已证明其知道标签上的密钥"),
    "admitted": ("{} with firmware {}: its key is admitted", "{}，固件 {}：其密钥已获准入"),
    "stored": ("the device has stored its config and starts anew", "设备已保存配置并重新启动"),
    "took": ("{} is provisioned, in {:.1f} s", "{} 已完成配置，用时 {:.1f} 秒"),
    "no answer": (
        "the device does not answer; it listens while it has no config, or when its button is held as it starts",
        "设备没有应答；只有在尚无配置时，或启动时按住其按钮，设备才会监听",
    ),
    "not heard": (
        "nobody advertises as {}; the device does while it has no config, or when its button is held as it starts",
        "没有设备以 {} 广播；只有在尚无配置时，或启动时按住其按钮，设备才会广播",
    ),
    "gone": ("the device has ended the connection", "设备已断开连接"),
    "no service": ("who advertises under this id cannot be provisioned", "以此编号广播的设备不支持配置"),
    "unknown end": (
        "the line failed before the device said whether it has stored its config; provision it again",
        "设备未及答复是否已保存配置，线路即中断；请重新配置",
    ),
    "refused config": ("the device refuses its config: {}", "设备拒绝此配置：{}"),
    "other device": ("{} answers; this is the label of another device", "应答的是 {}；此标签属于另一台设备"),
    "refused wait": (
        "too many attempts have failed; the device wants {} seconds of rest",
        "失败次数过多；设备要求等待 {} 秒",
    ),
    "refused proof": (
        "who answers does not know the secret of this label; is it the right label?",
        "应答方不知道此标签的密钥；标签是否正确？",
    ),
    "refused version": ("the device speaks another version of provisioning", "设备使用的配置协议版本不同"),
    "refused turn": ("the session was broken by another one; try again", "会话被另一会话打断；请重试"),
    "refused damaged": (
        "something was changed on the way; try again, and look who else is on the line",
        "数据在传输途中被改动；请重试，并检查线路上是否有他人",
    ),
    "broken": ("what answers does not follow the protocol: {}", "应答不符合协议：{}"),
    "host": (
        "say by --host where devices reach this gateway's broker; {} is reached from this machine only",
        "请用 --host 指明设备访问本网关代理的地址；{} 只能从本机访问",
    ),
    "head": (
        "Put what follows into the gateway's config, and start the gateway anew.",
        "请将以下内容放入网关配置，并重新启动网关。",
    ),
    "model": ("the name of a device file that has its metrics", "含有其测量项的设备文件名"),
}


def word(key: str, *values: object, environ: Mapping[str, str] = os.environ) -> str:
    """A text in English or Chinese, with the values in it."""
    return _WORDS[key][speaks_chinese(environ)].format(*values)
