// The header fields that are sent with each call: a way to log in, and others. Kept until the tab is closed.

import { $, h, store, stored } from "./dom.js";

const NOTHING = { scheme: "none", token: "", user: "", password: "", fields: [] };
let chosen = stored("sessionStorage", "headers", NOTHING);

export function headers() {
  const { scheme, token, user, password, fields } = chosen;
  const all = Object.fromEntries(fields.filter(([name]) => name.trim()).map(([name, value]) => [name.trim(), value]));
  if (scheme === "bearer" && token) all.Authorization = `Bearer ${token}`;
  if (scheme === "basic") all.Authorization = `Basic ${btoa(String.fromCharCode(...new TextEncoder().encode(`${user}:${password}`)))}`;
  return all;
}

function keep(changes) {
  chosen = { ...chosen, ...changes };
  store("sessionStorage", "headers", chosen);
  tell();
}

function tell() {
  const count = Object.keys(headers()).length;
  $("headers").textContent = count ? `Headers · ${count}` : "Headers";
}

function draw(dialog) {
  const text = (name, label, type = "text") => h("label", {}, label, h("input", { type, id: `auth-${name}`, value: chosen[name], autocomplete: "off", spellcheck: "false", oninput: (event) => keep({ [name]: event.target.value }) }));
  const schemes = { none: "Nothing", bearer: "Bearer token", basic: "User and password" };
  const scheme = h("select", { id: "auth-scheme", onchange: () => { keep({ scheme: scheme.value }); draw(dialog); scheme.focus(); } },
    Object.entries(schemes).map(([value, label]) => h("option", { value, selected: value === chosen.scheme }, label)));
  const write = (i, at, value) => keep({ fields: chosen.fields.map((field, j) => (i === j ? field.with(at, value) : field)) });
  const rows = chosen.fields.map((field, i) => h("div", { class: "entry" },
    h("input", { "aria-label": "Name of the header", placeholder: "X-Name", value: field[0], oninput: (event) => write(i, 0, event.target.value) }),
    h("input", { "aria-label": "Value of the header", placeholder: "value", value: field[1], oninput: (event) => write(i, 1, event.target.value) }),
    h("button", { class: "quiet", type: "button", "aria-label": "Remove this header", onclick() { keep({ fields: chosen.fields.filter((_, j) => j !== i) }); draw(dialog); } }, "×")));
  dialog.replaceChildren(h("form", { method: "dialog" },
    h("h2", { id: "headers-title" }, "Sent with each call"),
    h("label", {}, "Authorization", scheme),
    ...(chosen.scheme === "bearer" ? [text("token", "Token", "password")] : []),
    ...(chosen.scheme === "basic" ? [text("user", "User"), text("password", "Password", "password")] : []),
    h("p", { class: "caption" }, "Other headers"), ...rows,
    h("button", { class: "quiet", type: "button", id: "add-header", onclick() { keep({ fields: [...chosen.fields, ["", ""]] }); draw(dialog); [...dialog.querySelectorAll(".entry")].at(-1).firstChild.focus(); } }, "Add a header"),
    h("p", { class: "empty" }, "They stay in this tab until it is closed, and are part of what is copied."),
    h("div", { class: "actions" }, h("button", { class: "primary" }, "Done"))));
}

export function startHeaders() {
  const dialog = h("dialog", { class: "card", "aria-labelledby": "headers-title", onclick(event) { if (event.target === dialog) dialog.close(); } });
  document.body.append(dialog);
  $("headers").addEventListener("click", () => { draw(dialog); dialog.showModal(); });
  tell();
}
