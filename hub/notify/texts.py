"""What people are told of alarms, in English and Chinese: all tables. The braces are filled in by making.py."""

from collections.abc import Mapping

# By what it is: an escalation's first step, a later one, an alarm's states, a test: subject and first sentence.
_TEXTS: Mapping[str, tuple[tuple[str, str], tuple[str, str]]] = {
    "raised": (
        ("{priority}: {rule}, {thing}", "An alarm: {rule}."),
        ("{priority}：{rule}，{thing}", "告警：{rule}。"),
    ),
    "escalated": (
        ("{priority}, not acknowledged: {rule}, {thing}", "Nobody has acknowledged this alarm: {rule}."),
        ("{priority}，无人确认：{rule}，{thing}", "此告警尚无人确认：{rule}。"),
    ),
    "active": (
        ("{priority}: {rule}, {thing}", "An alarm: {rule}."),
        ("{priority}：{rule}，{thing}", "告警：{rule}。"),
    ),
    "acknowledged": (
        ("Acknowledged: {rule}, {thing}", "The alarm {rule} was acknowledged by {who}."),
        ("已确认：{rule}，{thing}", "告警“{rule}”已由{who}确认。"),
    ),
    "cleared": (
        ("Over: {rule}, {thing}", "The alarm {rule} is over."),
        ("已解除：{rule}，{thing}", "告警“{rule}”已解除。"),
    ),
    "inhibited": (
        ("Inhibited: {rule}, {thing}", "The alarm {rule} does not count for now."),
        ("已抑制：{rule}，{thing}", "告警“{rule}”暂不计入。"),
    ),
    "shelved": (
        ("Shelved: {rule}, {thing}", "The alarm {rule} was put aside by {who} for a time."),
        ("已搁置：{rule}，{thing}", "告警“{rule}”已由{who}暂时搁置。"),
    ),
    "test": (
        ("Test", "This is a test by the hub's operator. No alarm; nothing is to be done."),
        ("测试", "这是中心操作员发出的测试，不是告警，无需处理。"),
    ),
}

_PRIORITIES = {"high": ("High", "高"), "medium": ("Medium", "中"), "low": ("Low", "低")}

_LINES: tuple[tuple[str, str, str], ...] = (  # field, then its line in both languages; left out where it is empty
    ("thing_id", "Thing: {thing} ({thing_id})", "对象：{thing}（{thing_id}）"),
    ("reading", "Began with: {reading}", "起始读数：{reading}"),
    ("since", "Since: {since}", "开始时间：{since}"),
    ("time", "Time of this: {time}", "本次时间：{time}"),
    ("priority", "Priority: {priority}", "级别：{priority}"),
    ("now", "State when this was written: {now}", "写此消息时的状态：{now}"),
)

_NOBODY = ("nobody", "无人")

STATES = {
    "active": ("active", "激活"),
    "acknowledged": ("acknowledged", "已确认"),
    "cleared": ("over", "已解除"),
    "inhibited": ("inhibited", "已抑制"),
    "shelved": ("shelved", "已搁置"),
}


def written(what: str, language: str, fields: Mapping[str, str]) -> tuple[str, str]:
    """Subject and text. fields: `rule`, `thing`, `who`, `priority`, `now` and those of the lines; any may be empty."""
    number = int(language == "zh")
    filled = dict(fields)
    filled["who"] = fields.get("who") or _NOBODY[number]
    filled["priority"] = _PRIORITIES[fields["priority"]][number] if fields.get("priority") else ""
    filled["now"] = STATES[fields["now"]][number] if fields.get("now") else ""
    subject, sentence = (text.format(**filled) for text in _TEXTS[what][number])
    lines = [row[1 + number].format(**filled) for row in _LINES if filled.get(row[0])]
    # A name comes from a gateway: in a subject it must not begin another header.
    return f"Kerb: {' '.join(subject.split())}", "\n".join([sentence, "", *lines]).rstrip() + "\n"
