// Keeps a page true: fetches its parts and replaces those that changed. Without it the page
// reloads itself now and then.
"use strict";
(() => {
  const main = document.querySelector("main[data-live]");
  const told = document.querySelector("[data-live-status]");
  if (!main || !told) return;
  const every = Number(main.dataset.every);
  let last = new Date();

  const tell = (text, ok) => {
    told.hidden = false;
    told.classList.toggle("lost", !ok);
    if (told.textContent !== text) told.textContent = text;
  };

  const replace = (html) => {
    const fresh = new DOMParser().parseFromString(html, "text/html");
    const parts = [...fresh.querySelectorAll("[data-part]")];
    const names = new Set(parts.map((part) => part.dataset.part));
    for (const old of main.querySelectorAll("[data-part]")) {
      if (!names.has(old.dataset.part)) old.remove();
    }
    let before = null;
    for (const part of parts) {
      const old = main.querySelector(`[data-part="${part.dataset.part}"]`);
      if (!old) {
        before ? before.after(part) : main.prepend(part);
        before = part;
      } else if (old.outerHTML === part.outerHTML) {
        before = old;
      } else {
        const focused = old.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
        const scrolled = old.querySelector(".scroll")?.scrollLeft ?? 0;
        old.replaceWith(part);
        before = part;
        if (scrolled) part.querySelector(".scroll").scrollLeft = scrolled;
        if (focused) part.querySelector(`[href="${CSS.escape(focused)}"]`)?.focus();
      }
    }
  };

  const step = async () => {
    if (!document.hidden && !String(document.getSelection())) {
      try {
        const answer = await fetch(main.dataset.live, { signal: AbortSignal.timeout(15000) });
        if (answer.status === 401) return location.assign("/login");
        if (!answer.ok) throw new Error(answer.status);
        replace(await answer.text());
        last = new Date();
        tell("live", true);
      } catch {
        tell(`not updated since ${last.toLocaleTimeString()}`, false);
      }
    }
    setTimeout(step, every);
  };
  tell("live", true);
  setTimeout(step, every);
})();
