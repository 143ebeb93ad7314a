// The page to try JSON-RPC methods. It reads OpenRPC documents, makes a form of each method's parameters, and keeps
// the form and the Request object beside it in step: what is sent is always the text of the Request object.

const $ = (id) => document.getElementById(id);

function h(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name in node && typeof value !== "string") node[name] = value;
    else if (value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.flat().filter((child) => child != null));
  return node;
}

// -- methods --------------------------------------------------------------------------------------

let methods = [];
let shown = null;

async function load() {
  const answer = await fetch(document.body.dataset.documents);
  if (!answer.ok) throw new Error(`The list of methods could not be read: HTTP ${answer.status}.`);
  const documents = await answer.json();
  methods = documents.flatMap((openrpc) =>
    openrpc.methods.map((method) => ({ ...method, url: openrpc.servers[0].url, schemas: openrpc.components.schemas })));
  const several = documents.length > 1;
  for (const method of methods) {
    const isOnlyOne = methods.filter((other) => other.name === method.name).length === 1;
    method.hash = `#${encodeURIComponent(isOnlyOne ? method.name : `${method.url} ${method.name}`)}`;
    const dot = method.name.lastIndexOf(".");
    method.heading = [several && method.url, dot > 0 && method.name.slice(0, dot)].filter(Boolean).join(" · ");
  }
  if (documents.length) $("version").textContent = `v${documents[0].info.version}`;
}

function list() {
  const wanted = $("search").value.toLowerCase();
  const found = methods.filter((m) => `${m.name} ${m.summary ?? ""}`.toLowerCase().includes(wanted));
  const groups = new Map();
  for (const method of found) groups.set(method.heading, [...(groups.get(method.heading) ?? []), method]);
  $("list").replaceChildren(...[...groups].flatMap(([heading, members]) => [
    heading ? h("h2", {}, heading) : null,
    ...members.map((m) => h("a", { href: m.hash, "aria-current": m === shown ? "page" : undefined }, m.name,
      m.summary ? h("small", {}, m.summary) : null)),
  ]).filter(Boolean), ...(found.length ? [] : [h("p", {}, methods.length ? "No method of that name." : "No methods yet.")]));
}

// -- JSON Schema ------------------------------------------------------------------------------------

function resolve(schema) {
  const name = schema.$ref?.split("/").pop();
  return name ? { ...shown.schemas[name], ...(schema.default !== undefined && { default: schema.default }) } : schema;
}

function typeName(schema) {
  const name = schema.$ref?.split("/").pop();
  if (name && !shown.schemas[name]?.enum) return name;
  schema = resolve(schema);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  const either = schema.anyOf ?? schema.oneOf;
  if (either) return either.map(typeName).join(" | ");
  if (schema.type === "array") return schema.items && Object.keys(schema.items).length ? `array of ${typeName(schema.items)}` : "array";
  if (schema.type === "object" && schema.title) return schema.title;
  return schema.format ?? schema.type ?? "any";
}

function limits(schema) {
  const words = { minimum: "≥", exclusiveMinimum: ">", maximum: "≤", exclusiveMaximum: "<", minLength: "length ≥", maxLength: "length ≤", multipleOf: "multiple of", pattern: "like" };
  return Object.entries(words).filter(([key]) => schema[key] !== undefined).map(([key, word]) => `${word} ${schema[key]}`).join(", ");
}

function first(schema, depth = 0) {
  // A value to start a field with: the default, else the emptiest one that has the right shape.
  schema = resolve(schema);
  if (schema.default !== undefined) return schema.default;
  if (schema.enum) return schema.enum[0];
  if (schema.const !== undefined) return schema.const;
  const either = schema.anyOf ?? schema.oneOf;
  if (either) return first(either[0], depth);
  if (schema.type === "object" && depth < 4) {
    return Object.fromEntries((schema.required ?? []).map((name) => [name, first(schema.properties?.[name] ?? {}, depth + 1)]));
  }
  if (schema.type === "string" && schema.format === "date") return new Date().toISOString().slice(0, 10);
  return { integer: 0, number: 0, boolean: false, array: [], object: {}, string: "" }[schema.type] ?? null;
}

function fits(schema, value) {
  // Whether a value has the shape of a schema, as far as it takes to choose between the members of a union.
  schema = resolve(schema);
  if (schema.enum) return schema.enum.includes(value);
  if (schema.const !== undefined) return schema.const === value;
  const either = schema.anyOf ?? schema.oneOf;
  if (either) return either.some((member) => fits(member, value));
  const kind = value === null ? "null" : Array.isArray(value) ? "array" : typeof value;
  if (schema.type === "object") return kind === "object" && (schema.required ?? []).every((name) => name in value);
  if (schema.type === "integer") return Number.isInteger(value);
  return schema.type === undefined || schema.type === kind;
}

// -- fields -------------------------------------------------------------------------------------------
// A field is { node, get, set }; `changed` is called after the user has changed it. `get` gives undefined for
// what cannot be sent yet.

let ids = 0;

function field(schema, changed, depth = 0) {
  schema = resolve(schema);
  if (schema.enum) return choice(schema.enum, changed);
  if (schema.const !== undefined) return choice([schema.const], changed);
  const either = schema.anyOf ?? schema.oneOf;
  if (either) return variants(either, changed, depth);
  if (depth > 5) return anyJson(changed);
  if (schema.type === "boolean") return choice([false, true], changed);
  if (schema.type === "null") return { node: h("p", { class: "unsent" }, "null"), get: () => null, set() {} };
  if (schema.type === "integer" || schema.type === "number") return number(schema, changed);
  if (schema.type === "string") return string(schema, changed);
  if (schema.type === "array") return items(schema, changed, depth);
  if (schema.type === "object" && schema.properties) return members(schema, changed, depth);
  return anyJson(changed);
}

function input(properties, changed, read, write) {
  const node = h(properties.rows ? "textarea" : "input", { id: `f${++ids}`, spellcheck: false, autocomplete: "off", ...properties, oninput: changed });
  return { node, focus: node, get: () => read(node), set: (value) => { node.value = write(value); } };
}

function number(schema, changed) {
  // As text: browsers round what <input type=number> holds, and JSON's integers have no limit.
  const read = (node) => {
    const text = node.value.trim();
    const right = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/.test(text) && (schema.type === "number" || /^-?\d+$/.test(text));
    node.setAttribute("aria-invalid", String(!right));
    return right ? new Numeral(text) : undefined;
  };
  return input({ inputmode: schema.type === "integer" ? "numeric" : "decimal" }, changed, read, (value) => String(value ?? ""));
}

function string(schema, changed) {
  const hints = { "date-time": "2026-01-31T12:00:00Z", time: "12:00:00", uuid: "123e4567-e89b-12d3-a456-426614174000", duration: "PT90S" };
  const properties = schema.format === "date" ? { type: "date" } : schema.maxLength <= 80 || schema.format ? { placeholder: hints[schema.format] ?? "" } : { rows: "1" };
  return input(properties, changed, (node) => node.value, (value) => (typeof value === "string" ? value : ""));
}

function choice(values, changed) {
  const node = h("select", { id: `f${++ids}`, onchange: changed }, values.map((value) => h("option", {}, typeof value === "string" ? value : JSON.stringify(value))));
  return { node, focus: node, get: () => values[node.selectedIndex], set: (value) => { node.selectedIndex = Math.max(0, values.findIndex((known) => write(known, false) === write(value, false))); } };
}

function anyJson(changed) {
  const read = (node) => {
    const value = maybeParse(node.value);
    node.setAttribute("aria-invalid", String(value === undefined));
    return value;
  };
  return input({ rows: "2", placeholder: "any JSON" }, changed, read, (value) => write(value, false));
}

function items(schema, changed, depth) {
  const rows = h("div", { class: "items" });
  let fields = [];
  const add = (value) => {
    const item = field(schema.items ?? {}, changed, depth + 1);
    item.set(value);
    const row = h("div", {}, item.node, h("button", { class: "quiet", type: "button", "aria-label": "Remove this item", onclick() {
      fields = fields.filter((other) => other !== item);
      row.remove();
      changed();
    } }, "×"));
    fields.push(item);
    rows.append(row);
    return item;
  };
  const node = h("div", { class: "group" }, rows, h("button", { class: "quiet", type: "button", onclick() {
    add(first(schema.items ?? {}, depth + 1)).focus?.focus();
    changed();
  } }, "Add an item"));
  return {
    node,
    get: () => { const all = fields.map((item) => item.get()); return all.includes(undefined) ? undefined : all; },
    set(value) { fields = []; rows.replaceChildren(); for (const item of Array.isArray(value) ? value : []) add(item); },
  };
}

function members(schema, changed, depth) {
  const all = Object.entries(schema.properties).map(([name, of]) => labelled(name, of, (schema.required ?? []).includes(name), changed, depth + 1));
  return { node: h("div", { class: "group" }, all.map((member) => member.node)), get: () => collect(all), set: (value) => distribute(all, value ?? {}) };
}

function variants(either, changed, depth) {
  const pick = h("select", { id: `f${++ids}`, onchange() { show(pick.selectedIndex, first(either[pick.selectedIndex], depth)); changed(); } },
    either.map((schema) => h("option", {}, typeName(schema))));
  const place = h("div", {});
  let current;
  const show = (index, value) => {
    pick.selectedIndex = index;
    current = field(either[index], changed, depth + 1);
    current.set(value);
    place.replaceChildren(...(resolve(either[index]).type === "null" ? [] : [current.node]));
  };
  show(0, first(either[0], depth));
  return {
    node: h("div", { class: "either" }, pick, place), focus: pick, get: () => current.get(),
    set: (value) => show(Math.max(0, either.findIndex((schema) => fits(schema, plain(value)))), value),
  };
}

function labelled(name, schema, required, changed, depth = 0) {
  const inner = field(schema, changed, depth);
  const starts = resolve(schema);
  const send = required ? null : h("input", { type: "checkbox", onchange() { turn(send.checked); changed(); } });
  const standIn = h("p", { class: "unsent" }, starts.default !== undefined ? ["Not sent: the default is ", h("code", {}, write(starts.default, false))] : "Not sent");
  const place = h("div", {});
  const turn = (on) => {
    if (send) send.checked = on;
    place.replaceChildren(on ? inner.node : standIn);
  };
  inner.set(first(schema, depth));
  turn(required);
  const title = inner.focus ? h("label", { for: inner.focus.id }, name) : h("span", { class: "name" }, name);
  const kind = [typeName(schema), limits(starts)].filter(Boolean).join(", ");
  return {
    name, required,
    node: h("div", { class: "field", role: "group", "aria-label": name }, h("div", { class: "label" }, title, h("small", {}, kind),
      send ? h("label", { class: "send" }, send, "send") : null), place,
      starts.description ? h("small", {}, starts.description) : null),
    sent: () => required || send.checked,
    get: inner.get,
    set(value) { inner.set(value); turn(true); },
    leave: () => turn(required),
  };
}

function collect(all) {
  const sent = all.filter((member) => member.sent());
  const values = sent.map((member) => member.get());
  return values.includes(undefined) ? undefined : Object.fromEntries(sent.map((member, i) => [member.name, values[i]]));
}

function distribute(all, values) {
  for (const member of all) {
    if (Object.hasOwn(values, member.name)) member.set(values[member.name]);
    else member.leave();
  }
}

// -- JSON text ------------------------------------------------------------------------------------------
// Numbers keep the digits they were written with: JavaScript would round 12345678901234567890.

class Numeral {
  constructor(text) { this.text = text; }
  toString() { return this.text; }
}

const TOKEN = /\s+|"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*|true|false|null|[[\]{}:,]/y;

function tokens(text) {
  const found = [];
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < text.length) {
    const match = TOKEN.exec(text);
    if (!match) throw new SyntaxError("not JSON");
    if (match[0].trim()) found.push(match[0]);
  }
  return found;
}

function parse(text) {
  JSON.parse(text); // for its error messages, which say where
  const all = tokens(text);
  let at = 0;
  const value = () => {
    const token = all[at++];
    if (token === "[") return list(() => value());
    if (token === "{") return Object.fromEntries(list(() => { const name = JSON.parse(all[at++]); at++; return [name, value()]; }));
    return /^[-\d]/.test(token) ? new Numeral(token) : JSON.parse(token);
  };
  const list = (member) => {
    const found = [];
    while (!/^[\]}]$/.test(all[at])) { found.push(member()); if (all[at] === ",") at++; }
    at++;
    return found;
  };
  return value();
}

function maybeParse(text) {
  try { return parse(text); } catch { return undefined; }
}

function plain(value) {
  return value === undefined ? undefined : JSON.parse(write(value, false));
}

function write(value, pretty = true, indent = "") {
  if (value instanceof Numeral) return value.text;
  if (value === null || typeof value !== "object") return JSON.stringify(value ?? null);
  const inner = pretty ? `${indent}  ` : "";
  const parts = Array.isArray(value) ? value.map((item) => write(item, pretty, inner))
    : Object.entries(value).map(([name, item]) => `${JSON.stringify(name)}:${pretty ? " " : ""}${write(item, pretty, inner)}`);
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  if (!parts.length) return open + close;
  if (!pretty) return `${open}${parts.join(",")}${close}`;
  const line = `${open}${parts.join(", ")}${close}`;
  if (Array.isArray(value) && line.length <= 60 && !line.includes("\n")) return line;
  return `${open}\n${parts.map((part) => inner + part).join(",\n")}\n${indent}${close}`;
}

function coloured(text) {
  const kind = (token, next) => (token[0] === '"' ? (next === ":" ? "k" : "s") : /^[-\d]/.test(token) ? "n" : /^[tfn]/.test(token) ? "w" : "");
  const pieces = text.match(/\s+|"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*|true|false|null|[[\]{}:,]/g) ?? [];
  return pieces.map((piece, i) => { const name = kind(piece, pieces[i + 1]); return name ? h("span", { class: name }, piece) : piece; });
}

// -- one method -------------------------------------------------------------------------------------------

const ids_of_calls = (() => { let last = 0; return () => ++last; })();
const drafts = new Map(); // what was typed for each method, kept while the page is open

function show(method) {
  shown = method;
  document.title = method.name;
  const fields = method.params.map((param) => labelled(param.name, param.schema, param.required, fromForm));
  const editor = h("textarea", { id: "request", spellcheck: false, "aria-label": "Request object", oninput: fromText });
  const problem = h("p", { class: "problem", role: "status" });
  const response = h("section", { class: "card response idle", "aria-live": "polite", id: "response" }, h("h2", {}, "Response"), h("p", { class: "empty" }, "Nothing called yet."));
  const buttons = {
    call: h("button", { class: "primary", id: "call", onclick: () => send(editor.value) }, "Call"),
    notify: h("button", { id: "notify", title: "Call without an id: the server does not answer", onclick: notify }, "Notify"),
    curl: h("button", { id: "curl", onclick: (event) => copy(event.target, curl(method.url, editor.value)) }, "Copy as curl"),
  };

  function fromForm() {
    const params = collect(fields);
    problem.textContent = params === undefined ? "A field is not filled in rightly yet." : "";
    if (params !== undefined) keep(write(requestOf(params)));
  }
  function requestOf(params) {
    const before = maybeParse(editor.value);
    const id = before?.id instanceof Numeral || typeof before?.id === "string" ? before.id : new Numeral("1");
    return { jsonrpc: "2.0", method: method.name, ...((method.params.length || Object.keys(params).length) && { params }), id };
  }
  function keep(text) {
    editor.value = text;
    drafts.set(method, text);
    editor.setAttribute("aria-invalid", "false");
  }
  function fromText() {
    drafts.set(method, editor.value);
    try {
      const { params } = parse(editor.value) ?? {};
      problem.textContent = "";
      if (Array.isArray(params)) distribute(fields, Object.fromEntries(params.slice(0, fields.length).map((value, i) => [fields[i].name, value])));
      else if (params && typeof params === "object") distribute(fields, params);
    } catch (error) {
      problem.textContent = error.message;
    }
    editor.setAttribute("aria-invalid", String(Boolean(problem.textContent)));
  }
  function notify() {
    const request = maybeParse(editor.value);
    if (!request || Array.isArray(request)) { problem.textContent = "Only a single Request object can be sent as a notification from here."; return; }
    const { id, ...rest } = request;
    send(write(rest));
  }
  async function send(text) {
    for (const button of [buttons.call, buttons.notify]) button.disabled = true;
    const started = performance.now();
    try {
      const answer = await fetch(method.url, { method: "POST", headers: { "Content-Type": "application/json" }, body: text });
      const content = await answer.text();
      render(answer, content, performance.now() - started);
    } catch (error) {
      failed(`No answer: ${error.message}`);
    }
    for (const button of [buttons.call, buttons.notify]) button.disabled = false;
  }
  function render(answer, content, ms) {
    const parsed = maybeParse(content);
    const error = parsed?.error;
    const good = answer.ok && !error && (answer.status === 204 || parsed !== undefined);
    const told = error ? [error.message, error.data?.message].filter((part) => typeof part === "string").join(": ") : null;
    const pill = answer.status === 204 ? "No answer, as asked" : error ? `Error ${error.code}` : Array.isArray(parsed) ? "Batch" : good ? "Result" : "Not JSON-RPC";
    const body = parsed !== undefined && "result" in Object(parsed) ? parsed.result : parsed;
    const text = answer.status === 204 ? "" : parsed === undefined ? content : write(body);
    fill(!good, [h("span", { class: "pill" }, pill), h("span", {}, `HTTP ${answer.status}`), h("span", { id: "latency" }, `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`),
      h("span", {}, `${new Blob([content]).size} bytes`), text ? h("button", { class: "quiet", onclick: (event) => copy(event.target, text) }, "Copy") : null],
    told ? h("p", { class: "told" }, told) : null,
    answer.status === 204 ? h("p", { class: "empty" }, "A notification is never answered.") : h("pre", { id: "result", tabindex: "0" }, parsed !== undefined && text.length < 200_000 ? coloured(text) : text));
  }
  function failed(message) {
    fill(true, [h("span", { class: "pill" }, "Failed")], h("p", { class: "told" }, message));
  }
  function fill(bad, facts, ...content) {
    response.className = `card response${bad ? " bad" : ""}`;
    response.replaceChildren(h("h2", {}, "Response"), h("div", { class: "facts" }, facts), ...content.filter(Boolean));
    response.scrollIntoView({ block: "nearest" });
  }

  const more = [method["x-more-positions"] && "more values by position", method["x-more-names"] && "more members by name"].filter(Boolean).join(" and ");
  $("method").replaceChildren(...[
    h("h1", {}, method.name), h("p", { class: "signature" }, ...signature(method)),
    method.summary ? h("p", { class: "summary" }, method.summary) : null,
    method.description ? h("p", { class: "description" }, method.description) : null,
    h("div", { class: "pair" },
      h("section", { class: "card", "aria-label": "Parameters", id: "form" }, h("h2", {}, "Parameters"), fields.map((member) => member.node),
        fields.length ? null : h("p", { class: "empty" }, more ? "" : "This method takes none."),
        more ? h("p", { class: "empty" }, `It takes ${more}: write them into the request.`) : null),
      h("section", { class: "card request" }, h("h2", {}, "Request", h("span", { class: "faint" }, `POST ${method.url}`)), editor, problem)),
    h("div", { class: "actions" }, buttons.call, buttons.notify, buttons.curl, h("span", { class: "faint" }, h("kbd", {}, "Ctrl"), " ", h("kbd", {}, "Enter"), " calls")),
    response].filter(Boolean));
  const start = drafts.get(method);
  if (start === undefined) keep(write({ ...requestOf(collect(fields) ?? {}), id: new Numeral(String(ids_of_calls())) }));
  else { editor.value = start; fromText(); }
  $("method").scrollTop = 0;
  list();
}

function signature(method) {
  const of = method.params.flatMap((param, i) => [i ? ", " : "", h("b", {}, param.name), `${param.required ? "" : "?"}: ${typeName(param.schema)}`]);
  return ["(", ...of, `) → ${typeName(method.result.schema)}`];
}

function curl(url, text) {
  const value = maybeParse(text);
  const content = (value === undefined ? text : write(value, false)).replaceAll("'", String.raw`'\''`);
  return `curl -X POST '${new URL(url, location)}' -H 'Content-Type: application/json' -d '${content}'`;
}

async function copy(button, text) {
  const before = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    // Without https, and not on localhost, browsers keep the clipboard from pages: let the user take it.
    const area = h("textarea", { "aria-label": "Text to copy", rows: "4" });
    area.value = text;
    button.closest("section, .actions").append(area);
    area.select();
    area.addEventListener("blur", () => area.remove());
    return;
  }
  setTimeout(() => { button.textContent = before; }, 1200);
}

// -- around it ------------------------------------------------------------------------------------------------

function follow() {
  const method = methods.find((m) => m.hash === location.hash) ?? methods[0];
  openMenu(false);
  if (method && method !== shown) show(method);
}

function openMenu(open) {
  $("methods").classList.toggle("open", open);
  $("menu").setAttribute("aria-expanded", String(open));
}

const THEMES = ["auto", "light", "dark"];

function theme(name) {
  if (name === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  $("theme").textContent = { auto: "◐ Auto", light: "☀ Light", dark: "☾ Dark" }[name];
  try { localStorage.setItem("demijohn-theme", name); } catch { /* a browser that keeps nothing still shows it */ }
}

function startTheme() {
  let name = "auto";
  try { name = localStorage.getItem("demijohn-theme") ?? name; } catch { /* see above */ }
  theme(THEMES.includes(name) ? name : "auto");
  $("theme").addEventListener("click", () => { name = THEMES[(THEMES.indexOf(name) + 1) % THEMES.length]; theme(name); });
}

function onKey(event) {
  const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
  if (event.key === "/" && !typing) {
    event.preventDefault();
    openMenu(true);
    $("search").focus();
  } else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    $("call")?.click();
  } else if (event.key === "Escape") {
    openMenu(false);
  } else if (event.target === $("search") && event.key === "Enter") {
    $("list").querySelector("a")?.click();
  } else if (/^Arrow(Up|Down)$/.test(event.key) && $("methods").contains(event.target)) {
    const links = [$("search"), ...$("list").querySelectorAll("a")];
    const next = links[links.indexOf(event.target) + (event.key === "ArrowDown" ? 1 : -1)];
    if (next) { event.preventDefault(); next.focus(); }
  }
}

startTheme();
$("menu").addEventListener("click", () => openMenu(!$("methods").classList.contains("open")));
$("search").addEventListener("input", list);
addEventListener("hashchange", follow);
addEventListener("keydown", onKey);
try {
  await load();
  list();
  if (methods.length) follow();
  else $("method").replaceChildren(h("h1", {}, "No methods yet"), h("p", {}, "Register one with @jsonrpc.method(\"App.index\") and reload this page."));
} catch (error) {
  $("method").replaceChildren(h("h1", {}, "The methods could not be listed"), h("p", { class: "told" }, error.message));
}
document.body.dataset.ready = "true";
