// Ages are counted here, once a second, so that they grow on even when the hub falls silent.
const OFFSET_MS = KERB.now - Date.now();
const UNITS = KERB.language === "zh"
  ? { now: "刚刚", s: " 秒前", m: " 分钟前", h: " 小时前", d: " 天前" }
  : { now: "now", s: " s ago", m: " min ago", h: " h ago", d: " d ago" };

document.documentElement.lang = KERB.language === "zh" ? "zh-CN" : "en";

function ageText(seconds) {
  if (seconds < 1) return UNITS.now;
  if (seconds < 90) return Math.floor(seconds) + UNITS.s;
  if (seconds < 5400) return Math.round(seconds / 60) + UNITS.m;
  if (seconds < 129600) return Math.round(seconds / 3600) + UNITS.h;
  return Math.round(seconds / 86400) + UNITS.d;
}

// Late: four usual intervals; silent: twelve. A value within its deadband is only told once a minute, the gateway's
// heartbeat, so that nothing is late before 75 seconds.
function freshness(ageMs, intervalMs) {
  if (ageMs > Math.max(180000, 12 * intervalMs)) return "silent";
  return ageMs > Math.max(75000, 4 * intervalMs) ? "late" : "fresh";
}

function showAges() {
  const now = Date.now() + OFFSET_MS;
  for (const element of document.querySelectorAll("[data-at]")) {
    const ageMs = Math.max(0, now - Number(element.dataset.at));
    element.textContent = ageText(ageMs / 1000);
    element.dataset.fresh = freshness(ageMs, Number(element.dataset.interval));
  }
}

function choose(name, value) {
  document.cookie = `${name}=${value};path=/;max-age=31536000;samesite=lax`;
  location.reload();
}

function chooseTheme() {
  choose("theme", document.body.classList.contains("body--dark") ? "light" : "dark");
}

// On a phone the chart comes up over the lower half: keep the value that was tapped in sight.
document.addEventListener("click", (event) => {
  const tile = event.target.closest(".tile");
  if (tile && matchMedia("(max-width: 1100px)").matches)
    setTimeout(() => tile.scrollIntoView({ block: "start", behavior: "smooth" }), 250);
});

setInterval(showAges, 1000);
document.addEventListener("DOMContentLoaded", () => {
  setTimeout(showAges, 300);
  // The frame's own notice of a lost connection knows one language a page route; ours has two.
  const notice = document.querySelectorAll("#popup span");
  if (KERB.language === "zh" && notice.length > 1) {
    notice[notice.length - 2].textContent = "连接已断开";
    notice[notice.length - 1].textContent = "正在重新连接…";
  }
});

// What is chosen stays in the address: so that it outlives a change of the language, and can be passed on.
function keep(name, value) {
  const address = new URL(location.href);
  if (value) address.searchParams.set(name, value);
  else address.searchParams.delete(name);
  history.replaceState(history.state, "", address);
}

document.addEventListener("click", (event) => {
  const chosen = event.target.closest("[data-stream], [data-gateway]");
  if (chosen?.dataset.stream) keep("stream", chosen.dataset.stream);
  else if (chosen) keep("gateway", chosen.dataset.gateway);
  else if (event.target.closest(".close")) ["stream", "gateway"].forEach((name) => keep(name, ""));
});
