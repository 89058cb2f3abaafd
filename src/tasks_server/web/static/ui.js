// What makes the pages pleasant. All of it works without: links lead somewhere, forms are sent.

const storage = {
  get(name, otherwise) { try { return localStorage.getItem(`tasks-${name}`) ?? otherwise; } catch { return otherwise; } },
  set(name, value) { try { localStorage.setItem(`tasks-${name}`, value); } catch { /* it holds for this page */ } },
};
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const say = (text) => { const place = document.querySelector("[role=status]"); if (place) place.textContent = text; };

// The zone of the browser: told to the server, which writes all times.

function zone() {
  const mine = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const known = document.documentElement.dataset.zone;
  if (!mine || document.cookie.includes("tasks_zone=")) return;
  document.cookie = `tasks_zone=${encodeURIComponent(mine)}; path=/ui; max-age=31536000; samesite=strict`;
  if (known !== mine) live.now();
}

// The theme: the system's, light, dark, in turn.

function theme() {
  const button = document.querySelector("[data-do=theme]");
  const order = ["auto", "light", "dark"];
  const show = (name) => { button.textContent = { auto: "◐", light: "☀", dark: "☾" }[name]; button.setAttribute("aria-label", `Theme: ${name}`); };
  if (!button) return;
  button.hidden = false;
  show(storage.get("theme", "auto"));
  button.addEventListener("click", () => {
    const next = order[(order.indexOf(storage.get("theme", "auto")) + 1) % 3];
    storage.set("theme", next === "auto" ? "" : next);
    if (next === "auto") delete document.documentElement.dataset.theme; else document.documentElement.dataset.theme = next;
    show(next);
  });
}

// Live: the page is fetched anew, and its regions take each other's place; never under a hand.

const live = {
  seconds: 0, waiting: null, etag: null, moved: Date.now(), slow: 1,
  start() {
    const choice = document.querySelector("[data-do=live]");
    if (!choice || !document.querySelector("[data-region]")) return;
    choice.closest("label").hidden = false;
    choice.value = storage.get("live", document.body.dataset.live || "5");
    this.seconds = Number(choice.value);
    choice.addEventListener("change", () => { this.seconds = Number(choice.value); storage.set("live", choice.value); this.plan(); });
    for (const kind of ["pointerdown", "keydown", "scroll"]) addEventListener(kind, () => { this.moved = Date.now(); }, { passive: true });
    document.addEventListener("visibilitychange", () => { if (!document.hidden) this.plan(0.05); });
    this.plan();
  },
  plan(seconds = this.seconds * this.slow) {
    clearTimeout(this.waiting);
    if (this.seconds > 0) this.waiting = setTimeout(() => this.look(), seconds * 1000);
  },
  held() {
    const ticked = document.querySelectorAll("input[name=id]:checked").length;
    const focus = document.activeElement;
    if (document.hidden) return "hidden";
    if (ticked) return `paused: ${ticked} selected`;
    if (document.querySelector("dialog[open]")) return "paused: a question is open";
    if (focus && focus.matches("input:not([type=checkbox]), textarea, main select")) return "paused while you type";
    if (String(getSelection()).length) return "paused: text is selected";
    if (Date.now() - this.moved > 30 * 60_000) return "stopped after 30 minutes without a hand";
    return "";
  },
  async look() {
    const reason = this.held();
    this.tell(reason);
    if (!reason) await this.now();
    this.plan();
  },
  tell(text) { const place = document.querySelector("[data-told]"); if (place) place.textContent = text; },
  async now() {
    const began = performance.now();
    try {
      const answer = await fetch(location.href, { headers: this.etag ? { "If-None-Match": this.etag } : {}, redirect: "manual", cache: "no-store" });
      if (answer.type === "opaqueredirect") { location.reload(); return; }
      if (answer.status === 200) { this.etag = answer.headers.get("ETag"); this.take(await answer.text()); }
      else if (answer.status !== 304) this.tell(`no news: the server answers ${answer.status}`);
    } catch { this.tell("no news: the server does not answer"); }
    this.slow = performance.now() - began > this.seconds * 1000 ? 2 : 1;
  },
  take(text) {
    const fresh = new DOMParser().parseFromString(text, "text/html");
    const open = new Set(all("details[open][id]").map((part) => part.id));
    const focused = document.activeElement?.id;
    for (const region of all("[data-region]")) {
      const other = fresh.querySelector(`[data-region="${region.dataset.region}"]`);
      if (other && other.innerHTML !== region.innerHTML) region.replaceChildren(...other.childNodes);
    }
    for (const id of open) document.getElementById(id)?.setAttribute("open", "");
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
    document.title = fresh.title;
    select.count();
  },
};

// Rows that are ticked: a range with shift, all at once, and how many on the buttons.

const select = {
  last: null,
  start() {
    document.addEventListener("click", (event) => {
      const box = event.target.closest("input[type=checkbox]");
      if (!box) return;
      if (box.dataset.do === "all") all("input[name=id]").forEach((each) => { each.checked = box.checked; });
      else if (box.name === "id") {
        const boxes = all("input[name=id]");
        if (event.shiftKey && this.last) {
          const [from, to] = [boxes.indexOf(this.last), boxes.indexOf(box)].sort((a, b) => a - b);
          boxes.slice(Math.max(from, 0), to + 1).forEach((each) => { each.checked = box.checked; });
        }
        this.last = box;
      }
      this.count();
    });
    this.count();
  },
  count() {
    const number = document.querySelectorAll("input[name=id]:checked").length;
    for (const button of all("[data-ticked]")) {
      button.disabled = number === 0;
      button.textContent = number ? `${button.dataset.ticked} ${number} ${number === 1 ? "task" : "tasks"}` : button.dataset.ticked;
    }
  },
};

// A question before what cannot be undone.

function confirmations() {
  document.addEventListener("submit", (event) => {
    const button = event.submitter;
    if (!button?.dataset.ask || button.dataset.sure) return;
    event.preventDefault();
    const dialog = document.createElement("dialog");
    const text = document.createElement("p");
    const row = document.createElement("p");
    const no = document.createElement("button");
    const yes = document.createElement("button");
    text.textContent = button.dataset.ask;
    row.className = "actions";
    no.textContent = "Cancel";
    yes.textContent = button.textContent;
    yes.className = "danger";
    no.addEventListener("click", () => dialog.close());
    yes.addEventListener("click", () => { button.dataset.sure = "1"; dialog.close(); button.form.requestSubmit(button); delete button.dataset.sure; });
    dialog.addEventListener("close", () => { dialog.remove(); button.focus(); });
    row.append(yes, no);
    dialog.append(text, row);
    document.body.append(dialog);
    dialog.showModal();
    no.focus();
  });
}

// Copies; also where the browser keeps the clipboard for secure origins.

function copying() {
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const text = document.getElementById(button.dataset.copy)?.textContent ?? button.dataset.copy;
    try { await navigator.clipboard.writeText(text); } catch {
      const area = document.createElement("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    say("Copied.");
    const before = button.textContent;
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = before; }, 1200);
  });
}

// Keys: off while something has the focus that takes them, and where they were switched off.

const keys = {
  before: "",
  start() {
    document.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || storage.get("keys", "on") === "off") return;
      if (event.target.closest("input:not([type=checkbox]), textarea, select, dialog")) return;
      const key = event.key;
      if (this.before === "g") {
        this.before = "";
        const link = document.querySelector(`.menu a[data-key="${CSS.escape(key)}"]`);
        if (link) { event.preventDefault(); link.click(); }
      } else if (key === "g") this.before = "g";
      else if (key === "/") { event.preventDefault(); document.querySelector("input[type=search]")?.focus(); }
      else if (key === "r") live.now();
      else if (key === "?") document.querySelector("a[data-key='?']")?.click();
      else if (key === "j" || key === "k") this.move(key === "j" ? 1 : -1);
      else if (key === "x") { const row = document.querySelector("tr.here"); row?.querySelector("input[name=id]")?.click(); }
      else if (key === "Enter" && event.target === document.body) document.querySelector("tr.here a")?.click();
    });
  },
  move(by) {
    const rows = all("tbody tr");
    const at = rows.findIndex((row) => row.classList.contains("here"));
    const next = rows[Math.min(Math.max(at + by, 0), rows.length - 1)];
    rows[at]?.classList.remove("here");
    next?.classList.add("here");
    next?.scrollIntoView({ block: "nearest" });
  },
};

// The keys can be switched off.

function keysChoice() {
  const box = document.querySelector("[data-do=keys]");
  if (!box) return;
  box.checked = storage.get("keys", "on") !== "off";
  box.addEventListener("change", () => storage.set("keys", box.checked ? "on" : "off"));
}

// What came of an action is told once.

function told() {
  const url = new URL(location.href);
  if (!url.searchParams.has("done") && !url.searchParams.has("failed")) return;
  url.searchParams.delete("done");
  url.searchParams.delete("failed");
  history.replaceState(null, "", url);
}

told();
theme();
keysChoice();
live.start();
select.start();
confirmations();
copying();
keys.start();
zone();
