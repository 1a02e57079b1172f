/* The inbox's keyboard, focus, address, drafts and live changes. Everything here is a convenience: each link and form
   works without it. */
(function () {
  "use strict";
  const $ = (selector, root) => (root || document).querySelector(selector);
  const all = (selector, root) => Array.from((root || document).querySelectorAll(selector));
  const root = document.documentElement;
  const pane = $("#pane"), list = $("#list");
  const wide = window.matchMedia("(min-width: 1024px)");
  let chosen = null, busySince = Date.now(), lastContact = new Date(), offline = false, submitting = false;
  root.classList.add("js");

  // ---- the list: one tab stop, moved by the keys ------------------------------------------------------------------

  const links = () => all("#items a.open");
  const rowOf = (id) => document.getElementById("row-" + id);
  const openItem = () => $(".item", pane)?.dataset.item || "";

  function rove(link) {
    for (const each of all("#items a.open[tabindex='0']")) each.tabIndex = -1;
    if (link) link.tabIndex = 0;
  }

  function setUpList() {
    const found = links(), open = openItem();
    const current = open && rowOf(open) ? $("a.open", rowOf(open)) : null;
    const focused = document.activeElement?.closest?.("#items a.open");
    for (const link of found) link.tabIndex = -1;
    rove(focused || current || found[0]);
    for (const row of all("#items tr.row")) {
      const here = row.id === "row-" + open;
      row.classList.toggle("current", here);
      const link = $("a.open", row);
      if (here) link.setAttribute("aria-current", "true"); else link.removeAttribute("aria-current");
    }
  }

  function move(step, andOpen) {
    const found = links();
    if (!found.length) return;
    const open = openItem();
    let at = found.indexOf(document.activeElement);
    if (at < 0) at = found.findIndex((link) => link.closest("tr").id === "row-" + open);
    if (at < 0) at = step > 0 ? -1 : found.length;
    const next = found[Math.min(found.length - 1, Math.max(0, at + step))];
    rove(next);
    if (andOpen) { next.click(); return; }
    next.focus({ preventScroll: true });
    next.closest("tr").scrollIntoView({ block: "nearest" });
  }

  document.addEventListener("focusin", (event) => {
    const link = event.target.closest?.("#items a.open");
    if (link) rove(link);
  });

  // ---- the address and the focus follow the pane -------------------------------------------------------------------

  function afterPane() {
    const item = $(".item", pane);
    if (!item) return;
    chosen = null;
    const url = item.dataset.url;
    if (url && url !== location.pathname + location.search) history.pushState({ pane: true }, "", url);
    const whole = !!item.dataset.focus;
    document.body.classList.toggle("has-item", whole);
    const name = $("#item-title", pane)?.textContent;
    document.title = name ? name + " · Workflow server" : "Workflow server";
    restoreDraft();
    grow($("#comment"));
    setUpList();
    pane.scrollTop = 0;
    if (!wide.matches) window.scrollTo(0, 0);
    focusOn(item.dataset.focus);
    if (item.dataset.item) rowOf(item.dataset.item)?.scrollIntoView({ block: "nearest" });
  }

  function focusOn(what) {
    const target = { errors: "#errors", notice: "#notice", title: "#item-title" }[what];
    if (target) $(target)?.focus({ preventScroll: what === "title" && wide.matches });
  }

  // The list is the same while everything but the item in the address is.
  const listOf = (url) => { const at = new URL(url); at.searchParams.delete("item"); return at.pathname + at.search; };
  const listHere = listOf(location.href);

  window.addEventListener("popstate", () => {
    if (!wide.matches || listOf(location.href) !== listHere) { location.reload(); return; }
    saveDraft();
    if (new URL(location.href).searchParams.get("item")) htmx.ajax("GET", location.pathname + location.search, { target: "#pane" });
    else showNothing();
  });

  function showNothing() {
    const id = openItem();
    pane.replaceChildren($("#nothing").content.cloneNode(true));
    document.body.classList.remove("has-item");
    document.title = $("h1").textContent + " · Workflow server";
    setUpList();
    (id && rowOf(id) ? $("a.open", rowOf(id)) : links()[0])?.focus();
  }

  function closeItem() {
    const back = $(".back", pane);
    if (!back) return;
    if (!wide.matches) { location.href = back.href; return; }
    history.pushState({ pane: true }, "", back.getAttribute("href"));
    saveDraft();
    showNothing();
  }

  document.addEventListener("htmx:afterSwap", (event) => {
    if (event.detail.target === pane) afterPane();
  });
  document.addEventListener("htmx:afterSettle", (event) => {
    // htmx gives the focus back to what had it; the pane says where it belongs.
    if (event.detail.target === pane) focusOn($(".item", pane)?.dataset.focus);
    // Also after a row was replaced from the side: the new one must know whether it is the open one.
    setUpList();
    emptyBands();
    forgetToasts();
  });

  // How many rows of each band the list showed when last looked at. A list that is loaded anew starts anew.
  const rowsShown = new WeakMap();

  function countBands() {
    const list = $("#items");
    if (!list) return;
    const now = {};
    for (const band of all("tbody.band", list)) {
      const name = /band-\S+/.exec(band.className)[0];
      now[name] = (now[name] || 0) + all("tr.row", band).length;
    }
    const before = rowsShown.get(list) || {};
    for (const name of Object.keys(now)) {
      const count = $("tbody." + name + " .band-head b", list);
      const gone = (before[name] || 0) - now[name];
      if (gone > 0 && count && /^\d+$/.test(count.textContent)) count.textContent = Number(count.textContent) - gone;
    }
    rowsShown.set(list, now);
  }

  function emptyBands() {
    countBands();
    for (const band of all("#items tbody.band")) if (!$("tr.row", band)) band.remove();
  }

  // ---- requests: the token of now, and what to say when one fails --------------------------------------------------

  document.addEventListener("htmx:configRequest", (event) => {
    busySince = Date.now();
    const token = /(?:^|; )csrftoken=([^;]+)/.exec(document.cookie);
    // Signing in anew changes the token: the cookie has the right one, a form that stood open has the old one.
    if (token && event.detail.verb !== "get") {
      event.detail.headers["X-CSRFToken"] = decodeURIComponent(token[1]);
      event.detail.parameters.delete?.("csrfmiddlewaretoken");
    }
    if (event.detail.verb === "get" && event.detail.target === pane) saveDraft();
  });

  document.addEventListener("htmx:beforeRequest", (event) => {
    if (event.detail.requestConfig.verb === "get") return;
    if (submitting || offline) event.preventDefault(); else submitting = true;
  });
  document.addEventListener("htmx:afterRequest", (event) => {
    if (event.detail.requestConfig.verb === "get") return;
    submitting = false;
    const status = event.detail.xhr.status, path = event.detail.requestConfig.path || "";
    if (status === 200 && /\/items\/([0-9a-f-]+)\/(complete|comment)\//.test(path)) dropDraft(RegExp.$1);
  });

  document.addEventListener("htmx:responseError", (event) => {
    const status = event.detail.xhr.status;
    if (status === 401) signedOut();
    else toast(status >= 500 ? "The server could not do that. Nothing was lost; try again." : "That did not work. Reload the page and try again.");
  });
  // A whole page is an answer to somebody else's question (a proxy, a guard): it never goes into the pane.
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (!/^\s*<!doctype/i.test(event.detail.xhr.responseText)) return;
    event.detail.shouldSwap = false;
    toast("That did not work, and nothing was changed. Reload the page and try again.");
  });
  document.addEventListener("htmx:sendError", () => { setOffline(true); });

  function signedOut() {
    const place = $("#connection");
    const link = document.createElement("a");
    link.href = "/login/";
    link.target = "_blank";
    link.textContent = "Sign in again in a new tab";
    place.replaceChildren("You are signed out. What you typed is kept. ", link);
    place.hidden = false;
    saveDraft();
  }

  function setOffline(now) {
    const place = $("#connection");
    if (now && !offline) {
      const at = lastContact.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
      place.textContent = "Not connected · showing data from " + at;
    }
    if (now !== offline || now) place.hidden = !now;
    offline = now;
    document.body.classList.toggle("offline", now);
    for (const button of all("#decision button, #hold")) button.toggleAttribute("data-offline", now);
    const why = $("#offline-why");
    if (why) why.hidden = !now;
  }

  // ---- toasts: said politely, gone after a while, waiting while they are looked at ---------------------------------

  function toast(text) {
    const line = document.createElement("p");
    line.className = "toast";
    line.textContent = text;
    $("#toasts").append(line);
    forgetToasts();
  }

  function forgetToasts() {
    for (const line of all("#toasts .toast:not([data-timed])")) {
      line.dataset.timed = "yes";
      const forget = () => (line.matches(":hover") ? setTimeout(forget, 2000) : line.remove());
      setTimeout(forget, 8000);
    }
  }

  // ---- drafts: what was typed outlives a look at another item ------------------------------------------------------

  const draftKey = (id) => "draft:" + id;

  function saveDraft() {
    const form = $("#decide"), id = openItem();
    if (!form || !id || !form.dataset.touched) return;
    const pairs = Array.from(new FormData(form)).filter(([name]) => name === "comment" || name.startsWith("field"));
    try { sessionStorage.setItem(draftKey(id), JSON.stringify(pairs)); } catch { /* no room: nothing to keep it in */ }
  }

  function dropDraft(id) {
    try { sessionStorage.removeItem(draftKey(id)); } catch { /* nothing was kept */ }
  }

  function restoreDraft() {
    const form = $("#decide"), id = openItem();
    let pairs = null;
    try { pairs = JSON.parse(sessionStorage.getItem(draftKey(id)) || "null"); } catch { return; }
    // What the server sent back after a refusal is newer than any draft.
    if (!form || !pairs || $("#errors") || $("#notice")) return;
    for (const control of form.elements) {
      const values = pairs.filter(([name]) => name === control.name).map(([, value]) => value);
      if (!control.name || !(control.name === "comment" || control.name.startsWith("field"))) continue;
      if (control.type === "checkbox" || control.type === "radio") control.checked = values.includes(control.value);
      else if (values.length) control.value = values[0];
    }
    form.dataset.touched = "yes";
  }

  document.addEventListener("input", (event) => {
    busySince = Date.now();
    const form = event.target.form;
    if (form && form.id === "decide") { form.dataset.touched = "yes"; saveDraft(); }
    if (event.target.id === "comment") grow(event.target);
  });

  function grow(area) {
    if (!area) return;
    const lines = (area.value.match(/\n/g) || []).length + 1 + Math.floor(area.value.length / 90);
    area.rows = Math.min(6, Math.max(1, lines));
  }

  // ---- deciding ----------------------------------------------------------------------------------------------------

  function choose(key) {
    const button = $(`#decision button[data-key="${key}"]`);
    if (!button || button.disabled) return;
    for (const each of all("#decision .act")) each.classList.toggle("picked", each === button);
    chosen = button;
    button.focus();
    const name = button.childNodes[button.childNodes.length - 2]?.textContent.trim() || button.value;
    $("#chosen").textContent = name + " is chosen. Ctrl+Enter decides.";
  }

  function commit() {
    const form = $("#decide");
    if (!form || !chosen || !chosen.isConnected) {
      if (form) $("#chosen").textContent = "Choose an outcome first: 1 to " + Math.min(9, all("#decision .act").length) + ".";
      return;
    }
    form.requestSubmit(chosen);
  }

  document.addEventListener("click", (event) => {
    busySince = Date.now();
    const next = event.target.closest("[data-next]");
    if (next) {
      const id = openItem(), row = id && rowOf(id), found = links();
      const at = row ? found.indexOf($("a.open", row)) : -1;
      const target = found[at + 1] || found.find((link) => link.closest("tr") !== row);
      event.preventDefault();
      if (row) row.remove();
      emptyBands();
      if (target?.isConnected) target.click(); else location.href = next.href;
      return;
    }
    const copy = event.target.closest("[data-copy]");
    if (copy) {
      const text = copy.dataset.copy;
      const done = () => toast("Copied " + text + ".");
      if (navigator.clipboard) navigator.clipboard.writeText(text).then(done, () => toast("Copying is not allowed here."));
      else toast("Copying is not allowed here.");
      return;
    }
    if (event.target.closest("#help-button")) showHelp();
    const back = event.target.closest(".back");
    if (back && wide.matches && !event.metaKey && !event.ctrlKey) { event.preventDefault(); closeItem(); }
    const anchor = event.target.closest("#errors a[href^='#']");
    if (anchor) {
      const place = document.getElementById(anchor.getAttribute("href").slice(1));
      if (place) { event.preventDefault(); place.focus(); place.scrollIntoView({ block: "center" }); }
    }
  });

  function showHelp() {
    const help = $("#help");
    if (help && !help.open) help.showModal();
  }

  // ---- keys --------------------------------------------------------------------------------------------------------

  const typing = (place) => place.closest?.("input:not([type=radio]):not([type=checkbox]), textarea, select, [contenteditable]");
  const press = (selector) => { const place = $(selector); if (place && !place.disabled && !place.hidden) place.click(); return place; };

  document.addEventListener("keydown", (event) => {
    busySince = Date.now();
    if (event.isComposing || event.altKey || $("#help")?.open) return;
    const within = typing(event.target);
    if ((event.ctrlKey || event.metaKey) && event.key === "Enter") {
      if ($("#decide")) { event.preventDefault(); commit(); }
      return;
    }
    if (event.ctrlKey || event.metaKey) return;
    if (event.key === "Escape") {
      if (within) { event.target.blur(); if (pane.contains(within)) $("#item-title")?.focus({ preventScroll: true }); } else closeItem();
      return;
    }
    if (within) return;
    if (act(event)) event.preventDefault();
  });

  function act(event) {
    const inPane = pane.contains(event.target) && !!openItem();
    const link = event.target.closest?.("#items a.open");
    const radio = event.target.matches?.("input[type=radio]");
    switch (event.key) {
      case "j": move(1, inPane); return true;
      case "k": move(-1, inPane); return true;
      // In the pane the arrows scroll what one reads, as everywhere.
      case "ArrowDown": case "ArrowUp":
        if (inPane || radio) return false;
        move(event.key === "ArrowDown" ? 1 : -1, false); return true;
      case "o": if (link) link.click(); else $("#item-title")?.focus(); return true;
      case " ": return false;
      case "u": closeItem(); return true;
      case "c": if (/\/claim\/$/.test($("#hold")?.formAction || "")) press("#hold"); return true;
      case "C": if (/\/release\/$/.test($("#hold")?.formAction || "")) press("#hold"); return true;
      case "n": press("#take-next button"); return true;
      case "m": $("#comment")?.focus(); return true;
      case "t": { const line = $("#timeline"); line?.scrollIntoView({ block: "start" }); line?.focus({ preventScroll: true }); return true; }
      case "/": $("#search").focus(); $("#search").select(); return true;
      case "?": showHelp(); return true;
    }
    if (/^[1-9]$/.test(event.key)) { choose(event.key); return true; }
    return false;
  }

  // ---- live: rows are marked, and never jump -----------------------------------------------------------------------

  let timer = null;

  function shown() {
    const rows = new Map();
    for (const row of all("#items tr.row")) rows.set(row.id.slice(4), row);
    return rows;
  }

  async function poll() {
    const more = $("#more"), url = new URL(list.dataset.changes, location.href);
    url.searchParams.set("since", list.dataset.since);
    url.searchParams.set("until", more ? more.dataset.after : "");
    try {
      const answer = await fetch(url, { headers: { Accept: "application/json" }, credentials: "same-origin" });
      lastContact = new Date();
      if (answer.status === 401) { signedOut(); return; }
      if (offline) setOffline(false);
      if (answer.status === 200) apply(await answer.json());
    } catch { setOffline(true); }
  }

  function apply(changes) {
    list.dataset.since = changes.cursor;
    const rows = shown(), seen = new Set(), fresh = new Set(changes.new);
    for (const now of changes.rows) {
      const row = rows.get(now.id);
      seen.add(now.id);
      if (!row) fresh.add(now.id);
      else if (Number(row.dataset.version) < now.version) mark(row, now);
    }
    if (changes.whole) for (const [id, row] of rows) if (!seen.has(id)) gone(row);
    const count = Array.from(fresh).filter((id) => !rows.has(id)).length;
    $("#fresh").hidden = !count;
    $("#fresh-count").textContent = count >= 100 ? "100+ new" : count + " new";
  }

  function mark(row, now) {
    row.dataset.version = now.version;
    row.classList.add("changed");
    $(".c-state", row).className = "c-state tone-" + now.tone;
    $(".c-state use", row)?.setAttribute("href", "#i-" + now.icon);
    $(".word", row).textContent = now.word;
    $(".holder", row).textContent = now.holder ? " · " + now.holder : "";
  }

  function gone(row) {
    if (row.classList.contains("gone")) return;
    row.classList.add("gone");
    $(".c-state", row).className = "c-state tone-ended";
    $(".c-state use", row)?.setAttribute("href", "#i-ended");
    $(".word", row).textContent = "No longer open";
    $(".holder", row).textContent = "";
  }

  function schedule() {
    clearTimeout(timer);
    if (document.hidden || !list || list.dataset.live !== "yes") return;
    const quick = Date.now() - busySince < 60000;
    timer = setTimeout(async () => { await poll(); schedule(); }, quick ? 3000 : 60000);
  }

  document.addEventListener("visibilitychange", () => { busySince = Date.now(); schedule(); });
  for (const kind of ["keydown", "pointerdown"]) {
    document.addEventListener(kind, () => { const slow = Date.now() - busySince >= 60000; busySince = Date.now(); if (slow) schedule(); }, true);
  }

  // ---- at the beginning --------------------------------------------------------------------------------------------

  setUpList();
  countBands();
  forgetToasts();
  if (openItem()) { restoreDraft(); grow($("#comment")); focusOn($(".item", pane)?.dataset.focus); rowOf(openItem())?.scrollIntoView({ block: "nearest" }); }
  schedule();
})();
