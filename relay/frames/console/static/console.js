// Comforts of a browser that runs scripts. Every flow also works without them: this file only saves reloads.
"use strict";

const LIVE_MS = 5000, PAUSE_MS = 300;

const parse = html => new DOMParser().parseFromString(html, "text/html");
const get = async url => {
  const answer = await fetch(url, {credentials: "same-origin"});
  return answer.ok && !answer.redirected ? parse(await answer.text()) : null;
};
// For whom a page is: an operator may have changed that in another window.
const accountOf = page => page.querySelector("main").dataset.account;
const replace = (old, fresh) => old && fresh && old.replaceWith(document.importNode(fresh, true));

// A page that came in answer to a form takes the place of this one.
const turnTo = (page, url) => {
  document.querySelectorAll("dialog").forEach(dialog => dialog.remove());
  for (const place of ["main", ".top"]) replace(document.querySelector(place), page.querySelector(place));
  document.title = page.title;
  if (url !== location.href) history.pushState({}, "", url);
  dress(document);
  document.querySelector("main").focus({preventScroll: true});
  scrollTo(0, 0);
};
addEventListener("popstate", () => location.reload());

// What is marked data-live is fetched again while somebody looks at it.
const refreshLive = async () => {
  const places = [...document.querySelectorAll("[data-live][id]")];
  if (!places.length || document.hidden || document.querySelector("dialog[open]")) return;
  try {
    const page = await get(location.href);
    if (page && accountOf(page) !== accountOf(document)) return void location.reload();
    for (const place of page ? places : []) {
      const fresh = page.getElementById(place.id);
      if (fresh && !place.contains(document.activeElement) && getSelection().isCollapsed) {
        keepAsLookedAt(place, fresh);
        if (fresh.outerHTML !== place.outerHTML) replaceKept(place, fresh);
      }
    }
  } catch { /* The next turn tries again. */ }
  dress(document);
};
const keepAsLookedAt = (old, fresh) => {
  const opened = fresh.querySelectorAll("details");
  old.querySelectorAll("details").forEach((part, at) => { if (opened[at]) opened[at].open = part.open; });
};
const replaceKept = (old, fresh) => {
  const scrolled = [...old.querySelectorAll(".scroll")].map(part => part.scrollLeft);
  const id = old.id;
  replace(old, fresh);
  document.getElementById(id).querySelectorAll(".scroll").forEach((part, at) => part.scrollLeft = scrolled[at] || 0);
};
setInterval(refreshLive, LIVE_MS);

// A form marked data-refresh="#a,#b" has those parts computed by the server while somebody types.
const later = new WeakMap();
const soon = (form, work) => {
  clearTimeout(later.get(form));
  later.set(form, setTimeout(work, PAUSE_MS));
};
const queryOf = form => {
  const values = new URLSearchParams(new FormData(form));
  for (const name of ["csrf", "for_account"]) values.delete(name);
  return values;
};
const recompute = async form => {
  const url = new URL(form.dataset.source || form.getAttribute("action") || location.href, location.href);
  url.search = queryOf(form);
  const page = await get(url);
  for (const place of page ? form.dataset.refresh.split(",") : []) {
    replace(document.querySelector(place), page.querySelector(place));
  }
  if (page && form.method === "get") history.replaceState({}, "", url);
};

// A link marked data-dialog shows the form of its page in a dialog here.
const openDialog = async url => {
  const page = await get(url).catch(() => null);
  if (document.querySelector("dialog[open]")) return;
  if (!page || accountOf(page) !== accountOf(document)) return void (location.href = url);
  const dialog = document.createElement("dialog");
  fillDialog(dialog, page, url);
  document.body.append(dialog);
  dialog.addEventListener("close", () => dialog.remove());
  dialog.showModal();
};
const fillDialog = (dialog, page, url) => {
  dialog.replaceChildren(...document.importNode(page.querySelector("main"), true).childNodes);
  const title = dialog.querySelector("h1");
  if (title) { title.id = "dialog-title"; dialog.setAttribute("aria-labelledby", title.id); }
  for (const form of dialog.querySelectorAll("form")) if (!form.getAttribute("action")) form.action = url;
  dress(dialog);
};
const sendFromDialog = async (dialog, form, button) => {
  const body = new URLSearchParams(new FormData(form, button));
  const controls = [...form.elements].filter(control => !control.disabled);
  controls.forEach(control => control.disabled = true);
  try {
    const answer = await fetch(form.action, {method: "POST", body, credentials: "same-origin"});
    const page = parse(await answer.text());
    // Signed out meanwhile: the page that comes after signing in is this one again.
    if (answer.redirected && !page.querySelector(".top")) location.reload();
    else if (answer.redirected) turnTo(page, answer.url);
    else {
      fillDialog(dialog, page, form.action);
      dialog.querySelector("[aria-invalid=true], .main")?.focus();
    }
  } catch {
    controls.forEach(control => control.disabled = false);
    const problem = Object.assign(document.createElement("div"), {className: "problem", textContent: "The relay did not answer. Nothing is known of what it did: load the page again and look."});
    problem.setAttribute("role", "alert");
    form.prepend(problem);
  }
};

addEventListener("click", event => {
  const link = event.target.closest("a[data-dialog]");
  if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey && event.button === 0) {
    event.preventDefault();
    openDialog(link.href);
    return;
  }
  const cancel = event.target.closest("dialog [data-cancel]");
  if (cancel) { event.preventDefault(); cancel.closest("dialog").close(); return; }
  const copy = event.target.closest("[data-copy]");
  if (copy) {
    navigator.clipboard.writeText(copy.parentElement.querySelector("pre").textContent)
      .then(() => copy.textContent = "Copied", () => copy.textContent = "Select and copy by hand");
  }
});

addEventListener("input", event => {
  // What was wrong with a field is said until somebody changes it.
  const field = event.target.closest(".wrong");
  if (field) {
    field.classList.remove("wrong");
    field.querySelector(".error")?.remove();
    event.target.removeAttribute("aria-invalid");
  }
  const form = event.target.form;
  if (form?.dataset.refresh) soon(form, () => recompute(form));
});
addEventListener("change", event => {
  const form = event.target.form;
  if (form && "auto" in form.dataset) form.requestSubmit();
});
addEventListener("submit", event => {
  const form = event.target, dialog = form.closest("dialog");
  if (form.method !== "post") return;
  if (dialog) {
    event.preventDefault();
    sendFromDialog(dialog, form, event.submitter);
    return;
  }
  // After the browser has read the values: a second press must not send them again.
  setTimeout(() => form.querySelectorAll("button").forEach(button => button.disabled = true));
});
addEventListener("pageshow", event => {
  if (event.persisted) document.querySelectorAll("form button").forEach(button => button.disabled = false);
});

// What only makes sense, or stands in the way, when scripts run.
const dress = root => {
  root.querySelectorAll("[data-copy]").forEach(button => button.hidden = !navigator.clipboard);
  root.querySelectorAll("[data-without-script], form[data-auto] button").forEach(part => part.hidden = true);
};
dress(document);
document.querySelector("main [aria-invalid=true]")?.focus();

addEventListener("click", event => {
  const open = document.getElementById("menu");
  if (open?.open && !open.contains(event.target)) open.open = false;
});

// A sending IP that is dragged onto another pool is moved there, as the page of its own pool would.
const poolAt = event => event.target.closest?.("[data-drop-pool]");
let dragged = null;
addEventListener("dragstart", event => {
  const ip = event.target.closest?.("[data-drag-ip]");
  if (!ip) return;
  dragged = {address: ip.dataset.dragIp, from: poolAt(event), part: ip};
  event.dataTransfer.effectAllowed = "move";
  event.dataTransfer.setData("text/plain", dragged.address);
  ip.classList.add("dragged");
});
addEventListener("dragover", event => {
  const pool = dragged && poolAt(event);
  document.querySelectorAll(".pool.over").forEach(part => part.classList.toggle("over", part === pool));
  if (!pool || pool === dragged.from) return;
  event.preventDefault();
  pool.classList.add("over");
});
addEventListener("dragend", () => {
  dragged?.part.classList.remove("dragged");
  document.querySelectorAll(".pool.over").forEach(part => part.classList.remove("over"));
  dragged = null;
});
addEventListener("drop", event => {
  const pool = dragged && poolAt(event), form = document.getElementById("move-ip");
  if (!pool || !form || pool === dragged.from) return;
  event.preventDefault();
  const move = form.querySelector("[data-move]");
  form.action = `/account/ip-pools/edit/${encodeURIComponent(dragged.from.dataset.dropPool)}`;
  move.name = `move:${dragged.address}`;
  move.value = pool.dataset.dropPool;
  form.requestSubmit();
});
