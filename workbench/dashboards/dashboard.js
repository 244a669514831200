// What widgets cannot do: names for assistive technology, focus, the address, signing out, and a page that went to sleep.
(() => {
  const cookie = name => document.cookie.split("; ").find(one => one.startsWith(name + "="))?.slice(name.length + 1);
  const base = () => document.body.dataset.baseUrl.replace(/voila\/$/, "");
  let shown = new URLSearchParams(location.search).get("item");

  // The address says what is open, so that a reload or a link opens it again.
  const remember = (item, receipt) => {
    const query = new URLSearchParams();
    if (item) query.set("item", item);
    if (receipt) query.set("receipt", receipt);
    const address = location.pathname + (query.size ? "?" + query : "");
    if (address !== location.pathname + location.search) {
      history[item === shown ? "replaceState" : "pushState"]({}, "", address);
      shown = item;
    }
  };
  addEventListener("popstate", () => {
    if (new URLSearchParams(location.search).get("item") !== shown) location.reload();
  });

  const dress = () => {
    const name = (selector, role, label) => document.querySelectorAll(selector).forEach(one => {
      if (one.getAttribute("role") !== role) { one.setAttribute("role", role); if (label) one.setAttribute("aria-label", label); }
    });
    name(".wb-queue", "navigation", "Queue");
    name(".wb-main", "main");
    name(".wb-top", "banner");
    name(".wb-form", "form", "Your decision");
    name(".wb-message", "status");
    document.querySelectorAll(".wb-current").forEach(one => one.setAttribute("aria-current", "true"));
    // A button's text is plain: its first line becomes the title of the item.
    document.querySelectorAll(".wb-line:not([data-dressed])").forEach(one => {
      if (!one.textContent.trim()) return;
      one.dataset.dressed = "";
      one.removeAttribute("title");
      one.replaceChildren(...one.textContent.split("\n").map((text, place) =>
        Object.assign(document.createElement("span"), { className: place ? "" : "wb-title", textContent: text })));
    });
    document.querySelectorAll(".wb-passphrase input").forEach(one => {
      one.autocomplete = "current-password";
      one.setAttribute("aria-required", "true");
    });
    document.querySelectorAll(".wb-reason textarea").forEach(one => one.setAttribute("aria-required", "true"));
    // What follows once the page is on the screen: the queue beside an item, and what takes longer.
    document.querySelectorAll(".wb-more:not([data-pressed])").forEach(one => { one.dataset.pressed = ""; one.click(); });
    const fresh = document.querySelector("[data-focus]:not([data-seen])");
    if (fresh) {
      document.querySelectorAll("[data-focus]").forEach(one => one.setAttribute("data-seen", ""));
      const first = !window.workbenchReady;
      window.workbenchReady = true;
      if (!first) { fresh.focus({ preventScroll: true }); scrollTo({ top: 0 }); }
      const item = document.querySelector("[data-item]")?.dataset.item;
      remember(item, document.querySelector("[data-receipt]")?.dataset.receipt);
      document.title = (fresh.textContent.trim() || "Approvals") + " · Workbench";
    }
  };
  addEventListener("DOMContentLoaded", () => {
    document.documentElement.lang = "en";
    dress();
    new MutationObserver(dress).observe(document.body, { childList: true, subtree: true });
  });

  // Enter in the passphrase signs. Leaving the field first hands its content on, before the click does.
  addEventListener("keydown", event => {
    if (event.key !== "Enter" || !event.target.closest?.(".wb-passphrase")) return;
    event.preventDefault();
    event.stopPropagation();
    const button = document.querySelector(".wb-sign");
    if (button && !button.disabled) { button.focus(); button.click(); }
  }, true);

  addEventListener("submit", event => {
    if (!event.target.matches(".wb-signout")) return;
    const field = Object.assign(document.createElement("input"), { type: "hidden", name: "_xsrf", value: cookie("_xsrf") ?? "" });
    event.target.action = base() + "logout";
    event.target.append(field);
  });

  // A page whose kernel or session has ended says so, instead of buttons that do nothing.
  const asleep = text => {
    if (document.querySelector(".wb-asleep")) return;
    const note = Object.assign(document.createElement("div"), { className: "wb-asleep" });
    note.setAttribute("role", "alertdialog");
    const button = Object.assign(document.createElement("button"), { textContent: "Go on", type: "button" });
    button.addEventListener("click", () => location.reload());
    note.append(Object.assign(document.createElement("p"), { textContent: text }), button);
    document.body.append(note);
    button.focus();
  };
  const look = async () => {
    const config = document.getElementById("jupyter-config-data");
    if (!window.workbenchReady || !config || document.hidden) return;
    const kernel = JSON.parse(config.textContent).kernelId;
    try {
      const answer = await fetch(base() + "api/kernels/" + kernel, { redirect: "manual", cache: "no-store" });
      if (!answer.ok) asleep("This page was left alone for so long that it was put to sleep, or you signed out. What was signed is recorded.");
    } catch { asleep("The server cannot be reached. What was signed is recorded."); }
  };
  setInterval(look, 30000);
  addEventListener("visibilitychange", look);
})();
