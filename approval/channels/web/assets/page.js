"use strict";
(() => {
  const body = document.body;

  // Time left runs on the clock that nobody can set, from when the page came.
  const ends = new WeakMap();
  const pad = (n) => String(n).padStart(2, "0");
  const words = (s) =>
    s <= 0 ? "time is up" : s >= 3600 ? `${Math.floor(s / 3600)} h ${pad(Math.floor(s / 60) % 60)} min` : s >= 60 ? `${Math.floor(s / 60)} min ${pad(s % 60)} s` : `${s} s`;
  const tick = () => {
    for (const t of document.querySelectorAll("time.left")) {
      if (!ends.has(t)) ends.set(t, performance.now() + 1000 * Number(t.dataset.left));
      const s = Math.ceil((ends.get(t) - performance.now()) / 1000);
      const text = words(s);
      if (t.textContent !== text) t.textContent = text;
      t.classList.toggle("soon", s <= 60);
    }
  };
  setInterval(tick, 500);
  tick();

  // A second click is no second decision.
  document.addEventListener("submit", (e) => {
    if (!e.target.matches("form[data-form]")) return;
    if (e.target.dataset.sent) e.preventDefault();
    e.target.dataset.sent = "yes";
    e.target.setAttribute("aria-busy", "true");
  });
  addEventListener("pageshow", () => {
    for (const f of document.querySelectorAll("form[data-form]")) {
      delete f.dataset.sent;
      f.removeAttribute("aria-busy");
    }
  });

  if (!body.dataset.live || !window.EventSource) return;
  const lost = document.getElementById("lost");
  const said = document.getElementById("said");

  const sameWords = (a, b) => (a.dataset.stamp !== undefined ? a.dataset.stamp === b.dataset.stamp : a.innerHTML === b.innerHTML);
  const say = (part) => {
    const title = part.querySelector("h2");
    const rest = part.dataset.outcome === "open" ? "" : part.querySelector("h2 + p");
    said.textContent = `${title.textContent}. ${rest ? rest.textContent : "The votes or the question have changed."}`;
  };
  const replace = (fresh) => {
    for (const now of fresh.querySelectorAll("[data-part]")) {
      const was = document.getElementById(now.id);
      if (!was || sameWords(was, now)) continue;
      const held = was.contains(document.activeElement) ? document.activeElement.id || "none" : "";
      const reason = was.querySelector("#reason");
      const scroll = was.scrollLeft;
      const next = document.adoptNode(now);
      const kept = next.querySelector("#reason");
      if (reason && kept) kept.value = reason.value;
      was.replaceWith(next);
      next.scrollLeft = scroll;
      if (held) (document.getElementById(held) || document.getElementById("decision-title") || next).focus({ preventScroll: true });
      if (next.id === "decision") say(next);
    }
    document.title = fresh.title;
    body.dataset.version = fresh.body.dataset.version;
    tick();
  };

  let busy = false;
  let wanted = "";
  const refresh = async () => {
    if (busy) return;
    busy = true;
    try {
      while (wanted !== body.dataset.version) {
        const goal = wanted;
        const answer = await fetch(body.dataset.self, { cache: "no-store", credentials: "same-origin", redirect: "manual" });
        if (!answer.ok) throw new Error(String(answer.status));
        replace(new DOMParser().parseFromString(await answer.text(), "text/html"));
        if (wanted === goal) wanted = body.dataset.version;
      }
      lost.hidden = true;
    } catch {
      lost.hidden = false;
    } finally {
      busy = false;
    }
  };

  const source = new EventSource(body.dataset.live);
  source.addEventListener("change", (e) => {
    wanted = e.data;
    refresh();
  });
  source.addEventListener("open", () => {
    lost.hidden = true;
  });
  source.addEventListener("error", () => {
    lost.hidden = false;
  });
})();
