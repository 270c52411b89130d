"""The accounts: a card for each gateway, with its equation as a bar and as numbers, and what it holds since when."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from nicegui import ui

from hub.page.numbers import number, size, span
from hub.page.snapshot import Snapshot
from hub.page.texts import word
from hub.store.accounts import Account
from hub.store.querying import GatewayNow
from hub.store.writing import now_ms

Choose = Callable[[Account], Awaitable[None]]

MOST_CARDS = 60  # of thousands of gateways those that need a person come first
_TERMS = ("stored", "suppressed", "buffered", "declared_lost", "missing")


def by_trouble(accounts: Sequence[Account]) -> list[Account]:
    """First what does not add up, then what cannot be written, what is off line, and what holds most."""

    def rank(account: Account) -> tuple[bool, bool, bool, int, str]:
        return account.balanced, not failure_of(account), account.online, -account.buffered, account.gateway

    return sorted(accounts, key=rank)


def failure_of(account: Account) -> str:
    """Why the gateway cannot write its outbox; empty if it can."""
    return account.heard.status.failure if account.heard else ""


def oldest_text(account: Account, language: str) -> str:
    """The age of the oldest reading that is held, for people."""
    age_ms = account.oldest_age_ms(now_ms())
    if age_ms is None:
        return word("none_waits", language) if account.online else "–"
    return at_least(span(age_ms, language), account)


def at_least(text: str, account: Account) -> str:
    """A figure of what the gateway holds: while it is off line it holds no less than it last told."""
    return text if account.online else f"≥ {text}"


class _Card:
    """One gateway."""

    def __init__(self, gateway: GatewayNow, language: str, choose: Callable[[], Awaitable[None]]):
        self._language = language
        self._parts: dict[str, ui.element] = {}
        self._numbers: dict[str, tuple[ui.element, ui.label]] = {}
        self._facts: dict[str, ui.label] = {}
        with ui.element("article").classes("card account").props(f"data-gateway={gateway.id}") as self.box:
            with ui.element("button").classes("card-head").props("type=button aria-pressed=false") as self._button:
                with ui.element("span").classes("icon"):
                    ui.icon("router")
                with ui.element("span").classes("card-title"):
                    ui.label(gateway.name[language]).classes("name")
                    ui.label(gateway.id).classes("model")
                self._state = ui.label().classes("state")
            self._verdict = ui.label().classes("verdict")
            self._offline = ui.label().classes("verdict late")
            self._failure = ui.label().classes("verdict bad")
            with ui.element("div").classes("bar").props("role=img") as self._bar:
                for term in _TERMS:
                    self._parts[term] = ui.element("span").classes(f"part {term}")
            with ui.element("div").classes("terms"):
                for term in ("read", *_TERMS, "twice"):
                    self._numbers[term] = self._term(term)
            with ui.element("div").classes("facts"):
                for fact in ("oldest", "outbox"):
                    self._facts[fact] = self._fact(fact)
                with ui.element("div").classes("fact"):
                    ui.label(word("heard", language)).classes("fact-name")
                    self._heard = ui.element("span").classes("fact-value age")
        self.box.on("click", choose)

    def show(self, account: Account) -> None:
        """Bring the card up to date."""
        language = self._language
        state = "online" if account.online else "offline"
        self._state.text = word(state, language)
        self._state.classes(replace=f"state {state}")
        self._show_verdict(account)
        for term, part in self._parts.items():
            count = getattr(account, term)
            part.style(replace=f"flex-grow: {count}").set_visibility(count > 0)
        self._bar.props(f'aria-label="{self._equation(account)}"')
        for term, (box, value) in self._numbers.items():
            count = getattr(account, term)
            box.set_visibility(count > 0 or term not in {"missing", "twice"})
            value.text = at_least(f"{count:,}", account) if term == "buffered" else f"{count:,}"
        self._facts["oldest"].text = oldest_text(account, language)
        if account.heard:
            said = account.heard.status
            self._facts["outbox"].text = f"{size(said.bytes_held)} / {size(said.max_bytes)}"
            self._heard.props(f"data-at={account.heard.heard_ms} data-interval=60000")

    def mark(self, *, chosen: bool) -> None:
        """Show whether its backlog is in the chart."""
        self._button.props(f"aria-pressed={'true' if chosen else 'false'}")
        self.box.classes(**({"add": "chosen"} if chosen else {"remove": "chosen"}))

    def _show_verdict(self, account: Account) -> None:
        language = self._language
        said = []
        if account.missing:
            said.append(word("are_missing", language).format(number(account.missing, 0)))
        if account.twice:
            said.append(word("are_twice", language).format(number(account.twice, 0)))
        if account.set_aside:
            said.append(word("are_set_aside", language).format(number(account.set_aside, 0)))
        if account.skipped:
            said.append(word("are_skipped", language).format(number(account.skipped, 0)))
        current = account.current(now_ms())
        self._verdict.text = " ".join(said) or word("adds_up" if current else "added_up", language)
        self._verdict.classes(replace=f"verdict {'bad' if not account.balanced else 'good' if current else ''}")
        away = span(now_ms() - account.since_ms, language)
        self._offline.text = word("offline_for", language).format(away)
        self._offline.set_visibility(not account.online)
        failure = failure_of(account)
        self._failure.text = word("outbox_failing", language).format(word(failure, language))
        self._failure.set_visibility(bool(failure))

    def _equation(self, account: Account) -> str:
        terms = [term for term in _TERMS if getattr(account, term)]
        right = " + ".join(f"{getattr(account, term):,} {word(term, self._language)}" for term in terms)
        return f"{account.read:,} {word('read', self._language)} = {right or 0}"

    def _term(self, term: str) -> tuple[ui.element, ui.label]:
        with ui.element("div").classes(f"term {term}") as box:
            value = ui.label().classes("term-value")
            with ui.element("div").classes("term-name"):
                ui.element("i")
                ui.label(word(term, self._language))
        return box, value

    def _fact(self, key: str) -> ui.label:
        with ui.element("div").classes("fact"):
            ui.label(word(key, self._language)).classes("fact-name")
            return ui.label("–").classes("fact-value")


class Accounts:
    """All cards of one open page, in the order of trouble as of when the page was opened or a gateway came."""

    def __init__(self, language: str, choose: Choose):
        self._language = language
        self._choose = choose
        self._accounts: Mapping[str, Account] = {}
        self._cards: dict[str, _Card] = {}
        self._built: object = None
        self._chosen = ""
        with ui.element("section").classes("accounts"):
            self._box = ui.element("div").classes("account-cards")
            self._more = ui.label().classes("more")

    def show(self, snapshot: Snapshot) -> None:
        """Bring every card up to date."""
        named = {gateway.id: gateway for gateway in snapshot.gateways}
        self._accounts = {account.gateway: account for account in snapshot.accounts if account.gateway in named}
        described = [(gateway, named[gateway].name[self._language]) for gateway in self._accounts]
        if described != self._built:
            self._build(named)
            self._built = described
        for gateway, card in self._cards.items():
            card.show(self._accounts[gateway])
        hidden = [account for gateway, account in self._accounts.items() if gateway not in self._cards]
        wrong = sum(not account.balanced for account in hidden)
        self._more.text = word("more_gateways", self._language).format(len(hidden), wrong) if hidden else ""

    async def choose_first(self, wanted: str) -> None:
        """Choose the gateway that is wanted, else the first: so that a wide screen has a chart from the start."""
        for gateway in (wanted, *self._cards):
            if gateway in self._accounts:
                self._mark(gateway)
                await self._choose(self._accounts[gateway])
                return

    def unmark(self) -> None:
        """No gateway is shown in the chart any more."""
        self._mark("")

    def _build(self, named: Mapping[str, GatewayNow]) -> None:
        self._box.clear()
        self._cards.clear()
        with self._box:
            if not self._accounts:
                ui.label(word("nothing", self._language)).classes("nothing")
            for account in by_trouble(list(self._accounts.values()))[:MOST_CARDS]:
                gateway = account.gateway
                self._cards[gateway] = _Card(named[gateway], self._language, self._chooser(gateway))
        self._mark(self._chosen)

    def _chooser(self, gateway: str) -> Callable[[], Awaitable[None]]:
        async def chosen() -> None:
            self._mark(gateway)
            await self._choose(self._accounts[gateway])

        return chosen

    def _mark(self, gateway: str) -> None:
        self._chosen = gateway
        for each, card in self._cards.items():
            card.mark(chosen=each == gateway)
