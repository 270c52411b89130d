"""What the page says, in English and Chinese: words, units, states. All tables."""

from collections.abc import Mapping

from protocols.reading import BAD_REFUSED

LANGUAGES = ("en", "zh")

_WORDS = {
    "title": ("Kerb", "Kerb"),
    "page_live": ("Live", "实时"),
    "page_custody": ("Custody", "去向"),
    "figure_things": ("things", "设备"),
    "figure_stored": ("readings stored", "已存读数"),
    "figure_duplicates": ("duplicates", "重复"),
    "figure_lost": ("declared lost", "已声明丢失"),
    "figure_delay": ("median delay", "延迟中位数"),
    "figure_read": ("readings read", "已读"),
    "figure_suppressed": ("suppressed", "已抑制"),
    "figure_buffered": ("buffered", "缓存中"),
    "figure_declared_lost": ("declared lost", "已声明丢失"),
    "figure_missing": ("missing", "缺失"),
    "figure_twice": ("stored twice", "重复存储"),
    "read": ("read", "已读"),
    "suppressed": ("suppressed", "已抑制"),
    "stored": ("stored", "已存"),
    "buffered": ("buffered", "缓存中"),
    "declared_lost": ("declared lost", "已声明丢失"),
    "missing": ("missing", "缺失"),
    "twice": ("stored twice", "重复存储"),
    "at_least": ("at least", "至少"),
    "adds_up": ("Every reading is accounted for", "每条读数都有着落"),
    "added_up": ("Every reading was accounted for when it was last heard", "截至最近上报，每条读数都有着落"),
    "are_missing": ("{} readings are missing: nobody holds them", "缺失 {} 条读数：无处可寻"),
    "are_twice": ("{} readings are stored twice", "{} 条读数被重复存储"),
    "are_set_aside": ("{} packs could not be read and are kept as they came", "{} 个数据包无法解析，已原样保留"),
    "are_skipped": (
        "{} packs were acknowledged by a store that is no more: it was lost, or restored from a backup",
        "{} 个数据包曾由已不存在的存储确认：该存储已丢失，或已从备份恢复",
    ),
    "offline_for": ("Off line for {}: it holds at least what it last told", "已离线 {}：实际积压不少于最近上报的数量"),
    "outbox_failing": ("The gateway cannot write its storage: {}", "网关无法写入存储：{}"),
    "oldest": ("Oldest unsent reading", "最早未送达读数"),
    "none_waits": ("none waits", "无积压"),
    "outbox": ("Outbox", "发件箱"),
    "heard": ("Last heard", "最近上报"),
    "backlog": ("Backlog: readings that wait at the gateway", "积压：在网关等待的读数"),
    "choose_gateway": ("Tap a gateway to see its backlog", "点按网关查看积压"),
    "readings": ("readings", "读数"),
    "most_held": ("most held", "最大积压"),
    "longest_held": ("longest wait", "最长等待"),
    "oldest_now": ("oldest now", "当前最早"),
    "more_gateways": ("and {} more gateways, of which {} do not add up", "另有 {} 个网关，其中 {} 个账目不符"),
    "gateways_online": ("{} of {} gateways online", "{1} 个网关中 {0} 个在线"),
    "no_storing": ("Nothing can be stored now: {}", "当前无法存储：{}"),
    "database or disk is full": ("database or disk is full", "数据库或磁盘已满"),
    "database disk image is malformed": ("its file is damaged", "存储文件已损坏"),
    "its file is gone or empty, but its log is there": (
        "its file is gone or empty, but its log is there",
        "存储文件缺失或为空，但日志仍在",
    ),
    "file is not a database": ("its file is damaged: it is no database", "存储文件已损坏：不是数据库"),
    "unable to open database file": ("its file cannot be opened", "无法打开存储文件"),
    "disk I/O error": ("disk I/O error", "磁盘读写错误"),
    "attempt to write a readonly database": ("the file system is read-only", "文件系统为只读"),
    "ingest does not answer": ("ingest does not answer", "接收进程无响应"),
    "ingest has no session with the broker": ("ingest has no session with the broker", "接收进程未连接消息代理"),
    "s": ("s", "秒"),
    "min": ("min", "分钟"),
    "h": ("h", "小时"),
    "d": ("d", "天"),
    "online": ("online", "在线"),
    "offline": ("offline", "离线"),
    "waiting": ("waiting", "等待中"),
    "no_gateway": ("No gateway has called yet", "尚无网关接入"),
    "nothing": ("Things appear here as soon as a gateway announces them.", "网关上报后，设备会显示在这里。"),
    "no_store": ("The store cannot be read: {}", "无法读取存储：{}"),
    "no_value": ("no value yet", "暂无读数"),
    "backfill": ("arrived late", "补传"),
    "alarms": ("{} alarms", "{} 条告警"),
    "one_alarm": ("1 alarm", "1 条告警"),
    "more_alarms": ("and {} more", "另有 {} 条"),
    "active": ("active", "激活"),
    "acknowledged": ("acknowledged", "已确认"),
    "acknowledge": ("Acknowledge", "确认"),
    "shelve": ("Shelve 30 min", "搁置 30 分钟"),
    "unshelve": ("Take back", "取消搁置"),
    "under_way": ("under way …", "处理中…"),
    "inhibited": ("inhibited", "已抑制"),
    "shelved": ("shelved", "已搁置"),
    "high": ("high", "高"),
    "medium": ("medium", "中"),
    "low": ("low", "低"),
    "choose": ("Tap a value to see its course", "点按数值查看曲线"),
    "range_15m": ("15 min", "15 分钟"),
    "range_1h": ("1 hour", "1 小时"),
    "range_6h": ("6 hours", "6 小时"),
    "range_1d": ("1 day", "1 天"),
    "least": ("min", "最小"),
    "mean": ("mean", "平均"),
    "greatest": ("max", "最大"),
    "band": ("min to max", "最小至最大"),
    "restored": (
        "Restored on {} from a backup of {}. What gateways had handed over in between is missing: {} packs known.",
        "已于 {} 从 {} 的备份恢复。其间网关已交付的数据缺失：已知 {} 个数据包。",
    ),
    "damaged": ("A part of this span is damaged on the hub's disk", "此时段的部分数据在中心磁盘上已损坏"),
    "no_numbers": ("No numbers in this span", "此时段没有数值"),
    "close": ("Close", "关闭"),
    "theme": ("Light or dark", "浅色或深色"),
    "language": ("中文", "English"),
    "api": ("API", "接口"),
    "gateway offline": ("gateway offline", "网关离线"),
    "removed": ("removed", "已移除"),
    # What gateways give as reasons, as far as they are fixed texts
    "disconnected until its next measurement": ("disconnected until its next measurement", "已断开，等待下次测量"),
    "disconnected": ("disconnected", "连接已断开"),
    "no answer": ("no answer", "无应答"),
    "no answer in time": ("no answer in time", "应答超时"),
    "the device has left its broker": ("the device has left its broker", "设备已离开网关的消息代理"),
    "true": ("yes", "是"),
    "false": ("no", "否"),
}

# UCUM code -> (how people write it, decimals that a computed value is worth; None: four significant digits)
_UNITS: Mapping[str, tuple[str, str, int | None]] = {
    "1": ("", "", 2),
    "%": ("%", "%", 1),
    "/min": ("/min", "次/分", 0),
    "mm[Hg]": ("mmHg", "mmHg", 0),
    "kPa": ("kPa", "kPa", 1),
    "Cel": ("°C", "°C", 1),
    "[degF]": ("°F", "°F", 1),
    "kg": ("kg", "kg", 1),
    "kg/m2": ("kg/m²", "kg/m²", 1),
    "mmol/L": ("mmol/L", "mmol/L", 1),
    "mg/dL": ("mg/dL", "mg/dL", 0),
    "V": ("V", "V", 1),
    "A": ("A", "A", 2),
    "W": ("W", "W", 0),
    "V.A": ("VA", "VA", 0),
    "var": ("var", "var", 0),
    "Hz": ("Hz", "Hz", 2),
    "kW.h": ("kWh", "千瓦时", 3),
    "deg": ("°", "°", 1),
    "m": ("m", "米", 1),
    "m/s": ("m/s", "米/秒", 1),
    "s": ("s", "秒", 1),
    "ms": ("ms", "毫秒", 0),
    "dB[SPL]": ("dB", "dB", 1),
    "[ppm]": ("ppm", "ppm", 0),
    "lx": ("lx", "勒克斯", 0),
    "hPa": ("hPa", "百帕", 1),
    "{score}": ("", "分", 0),
}

# Metrics that are worth other decimals than their unit: 0.00001 degrees of latitude are about a metre
_DECIMALS = {"latitude": 5, "longitude": 5}

_QUALITIES = {
    0: ("", ""),
    1: ("repeated", "沿用"),
    2: ("uncertain", "存疑"),
    16: ("bad", "无效"),
    17: ("no answer", "无应答"),
    19: ("damaged", "校验错误"),
    20: ("out of range", "超出量程"),
    21: ("invalid", "无效"),
    BAD_REFUSED: ("refused", "被拒绝"),
}

# kind of thing -> name of an icon in the font that NiceGUI brings
ICONS = {
    "wearable": "watch",
    "energy_meter": "electric_bolt",
    "blood_pressure_cuff": "favorite",
    "pulse_oximeter": "bloodtype",
    "gps_receiver": "satellite_alt",
    "thermometer": "thermostat",
    "scale": "monitor_weight",
    "glucose_meter": "water_drop",
    "dispenser": "medication",
}
DEFAULT_ICON = "sensors"

# Metrics that are converted from another unit (knots) with more decimals than a person can use
ROUNDED = frozenset({"speed"})

# Metrics that a person looks for first: shown large. A thing without any shows its first metric large.
VITALS = frozenset(
    {
        "heart_rate",
        "systolic",
        "diastolic",
        "oxygen_saturation",
        "body_temperature",
        "respiratory_rate",
        "glucose",
        "weight",
        "active_power",
        "speed",
    }
)


def word(key: str, language: str) -> str:
    """A text of the page; one that is in no table (a gateway's own reason) stays as it is."""
    pair = _WORDS.get(key)
    return pair[LANGUAGES.index(language)] if pair else key


def unit_text(unit: str, language: str) -> str:
    """A UCUM code as people write it."""
    known = _UNITS.get(unit)
    if known is None:
        return unit
    return known[1] if language == "zh" else known[0]


def decimals(metric: str, unit: str) -> int | None:
    """How many decimals a computed value is worth, if the tables know."""
    return _DECIMALS.get(metric, _UNITS[unit][2] if unit in _UNITS else None)


def quality_text(quality: int, language: str) -> str:
    """A quality for people; empty for a good one."""
    code = quality & 0x7F
    exception = code - BAD_REFUSED if BAD_REFUSED < code < BAD_REFUSED + 32 else 0
    pair = _QUALITIES.get(BAD_REFUSED if exception else code)
    text = pair[LANGUAGES.index(language)] if pair else str(code)
    return f"{text} ({exception})" if exception else text


def language_of(accept: str, chosen: str | None) -> str:
    """The language a person has chosen, else the one that Accept-Language likes best, else English."""
    if chosen in LANGUAGES:
        return chosen
    best, language = 0.0, "en"
    for part in accept.split(",")[:20]:
        tag, _, weight = part.strip().partition(";q=")
        try:
            likes = float(weight or 1)
        except ValueError:
            continue
        primary = tag.split("-")[0].lower()
        if primary in LANGUAGES and likes > best:
            best, language = likes, primary
    return language
