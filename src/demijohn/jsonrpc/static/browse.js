// The page to try JSON-RPC methods. It reads OpenRPC documents, makes a form of each method's parameters, and keeps
// the form and the Request object beside it in step: what is sent is always the text of the Request object.

import { forget, history, ms, post, remember, repeat } from "./calls.js";
import { $, copy, h, store, stored } from "./dom.js";
import { collect, distribute, labelled } from "./fields.js";
import { headers, startHeaders } from "./headers.js";
import { Numeral, maybeParse, parse, write } from "./json.js";
import { ResponseCard, outcome } from "./response.js";
import { typeName, useComponents } from "./schema.js";
import { curl, javascript, python } from "./snippets.js";

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
  const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const textOf = (m) => [m.name, m.summary, m.description, ...(m.tags ?? []).map((tag) => tag.name)].join(" ").toLowerCase();
  const found = methods.filter((method) => words.every((word) => textOf(method).includes(word)));
  const groups = new Map();
  for (const method of found) groups.set(method.heading, [...(groups.get(method.heading) ?? []), method]);
  $("list").replaceChildren(...[...groups].flatMap(([heading, members]) => [
    heading ? h("h2", {}, heading) : null,
    ...members.map((m) => h("a", { href: m.hash, class: m.deprecated ? "deprecated" : undefined, "aria-current": m === shown ? "page" : undefined }, m.name,
      m.summary ? h("small", {}, m.summary) : null)),
  ]).filter(Boolean), ...(found.length ? [] : [h("p", {}, methods.length ? "No method of that name." : "No methods yet.")]));
  $("list").querySelector("[aria-current]")?.scrollIntoView({ block: "nearest" });
}

// -- one method -------------------------------------------------------------------------------------------

const nextId = (() => { let last = 0; return () => new Numeral(String(++last)); })();
const drafts = new Map(); // what was typed for each method, kept while the page is open
const batches = new Map(); // the requests that are to be sent together to each URL

const isRequest = (value) => value instanceof Object && !Array.isArray(value);

class MethodPage {
  constructor(method) {
    useComponents(method.schemas);
    this.method = method;
    this.fields = method.params.map((param) => labelled({ ...param, required: Boolean(param.required) }, () => this.fromForm()));
    this.editor = h("textarea", { id: "request", spellcheck: false, "aria-label": "Request object", oninput: () => this.fromText() });
    this.problem = h("p", { class: "problem", role: "status" });
    this.response = new ResponseCard();
    this.batch = h("section", { class: "card", id: "batch", "aria-label": "Batch", hidden: true });
    this.history = h("details", { class: "card", id: "history" });
    this.running = null;
  }

  // The form and the text.

  fromForm() {
    const params = collect(this.fields);
    this.problem.textContent = params === undefined ? "A field is not filled in rightly yet." : "";
    if (params !== undefined) this.keep(write(this.requestOf(params)));
  }

  requestOf(params, id) {
    const before = maybeParse(this.editor.value)?.id;
    const kept = before instanceof Numeral || typeof before === "string" ? before : new Numeral("1");
    return { jsonrpc: "2.0", method: this.method.name, ...((this.method.params.length || Object.keys(params).length) && { params }), id: id ?? kept };
  }

  keep(text) {
    this.editor.value = text;
    drafts.set(this.method, text);
    this.editor.setAttribute("aria-invalid", "false");
  }

  fromText() {
    drafts.set(this.method, this.editor.value);
    try {
      const { params } = parse(this.editor.value) ?? {};
      this.problem.textContent = "";
      if (Array.isArray(params)) distribute(this.fields, Object.fromEntries(params.slice(0, this.fields.length).map((value, i) => [this.fields[i].name, value])));
      else if (params instanceof Object) distribute(this.fields, params);
    } catch (error) {
      this.problem.textContent = error.message;
    }
    this.editor.setAttribute("aria-invalid", String(Boolean(this.problem.textContent)));
  }

  put(text) {
    this.editor.value = text;
    this.fromText();
  }

  start(params) {
    const draft = drafts.get(this.method);
    if (params !== undefined) this.put(write({ ...this.requestOf({}, nextId()), params }));
    else if (draft !== undefined) this.put(draft);
    else this.keep(write(this.requestOf(collect(this.fields) ?? {}, nextId())));
  }

  single(what) {
    const request = maybeParse(this.editor.value);
    if (isRequest(request)) return request;
    this.problem.textContent = `Only a single Request object can be ${what}.`;
    return undefined;
  }

  // Calling.

  async run(work) {
    if (!this.stop.hidden) return;
    this.running = new AbortController();
    this.busy(true);
    try {
      await work(this.running.signal);
    } catch (error) {
      this.response.showFailure(this.running.signal.aborted ? "Stopped: the server may have run it all the same." : `No answer: the server cannot be reached, or has ended the connection (${error.message}).`);
    }
    this.busy(false);
  }

  busy(isBusy) {
    for (const button of this.buttons) button.disabled = isBusy;
    this.stop.hidden = !isBusy;
    this.stop.textContent = "Stop";
  }

  send(text) {
    return this.run(async (signal) => {
      const answer = await post(this.method.url, text, signal);
      this.response.show(answer);
      const [told, isGood] = outcome(answer.status, answer.ok, maybeParse(answer.content));
      remember({ hash: this.method.hash, name: maybeParse(text)?.method ?? "Batch", text, told, isGood, ms: answer.ms });
      this.drawHistory();
    });
  }

  notify() {
    const request = this.single("sent as a notification");
    if (!request) return;
    const { id, ...rest } = request;
    this.send(write(rest));
  }

  repeat(count) {
    if (!(count >= 1)) { this.problem.textContent = "Say how often it is to be called."; return; }
    this.run(async (signal) => {
      const done = await repeat(this.method.url, this.editor.value, count, signal, (n) => { this.stop.textContent = `Stop · ${n} of ${count}`; });
      this.response.showRepeated(done);
    });
  }

  // The batch.

  addToBatch() {
    const request = this.single("part of a batch");
    if (!request) return;
    batches.set(this.method.url, [...(batches.get(this.method.url) ?? []), request]);
    this.drawBatch();
  }

  drawBatch() {
    const requests = batches.get(this.method.url) ?? [];
    const keep = (changed) => { batches.set(this.method.url, changed); this.drawBatch(); };
    this.batch.hidden = !requests.length;
    const numbered = () => requests.map((request, i) => (request.id === undefined ? request : { ...request, id: new Numeral(String(i + 1)) }));
    this.batch.replaceChildren(h("h2", {}, `Batch of ${requests.length}`, h("span", { class: "faint" }, "sent in one request")),
      h("ol", {}, requests.map((request, i) => h("li", {}, h("code", {}, `${request.method} ${request.params === undefined ? "" : write(request.params, false)}`),
        request.id === undefined ? h("small", {}, "notification") : null,
        h("button", { class: "quiet", type: "button", "aria-label": `Remove call ${i + 1}`, onclick: () => keep(requests.filter((_, j) => j !== i)) }, "×")))),
      h("div", { class: "actions" }, h("button", { class: "primary", type: "button", id: "call-batch", onclick: () => this.send(write(numbered())) }, "Call the batch"),
        h("button", { type: "button", onclick: () => this.put(write(numbered())) }, "Edit as JSON"), h("button", { type: "button", onclick: () => keep([]) }, "Clear")));
  }

  drawHistory() {
    const entries = history();
    this.history.hidden = !entries.length;
    this.history.replaceChildren(h("summary", {}, `History · ${entries.length}`),
      h("ol", {}, entries.map((entry) => h("li", { class: entry.isGood ? "" : "bad" },
        h("button", { type: "button", class: "quiet", onclick: () => restore(entry) }, h("code", {}, entry.name), h("span", { class: "pill" }, entry.told),
          h("small", {}, `${ms(entry.ms)} · ${new Date(entry.at).toLocaleTimeString()}`))))),
      h("button", { class: "quiet", type: "button", onclick: () => { forget(); this.drawHistory(); } }, "Forget them"));
  }

  // What is to be seen.

  copyAs(button, make) {
    const made = make(new URL(this.method.url, location).href, this.editor.value, headers());
    if (made === undefined) this.problem.textContent = "Only Request objects can be copied like this.";
    else copy(button, made);
  }

  link() {
    const request = this.single("linked to");
    return request && new URL(`${this.method.hash}${request.params === undefined ? "" : `?params=${encodeURIComponent(write(request.params, false))}`}`, location).href;
  }

  actions() {
    const button = (id, label, onclick, of = {}) => h("button", { id, type: "button", onclick, ...of }, label);
    const call = button("call", "Call", () => this.send(this.editor.value), { class: "primary", title: "Ctrl+Enter" });
    const notify = button("notify", "Notify", () => this.notify(), { title: "Call without an id: the server does not answer" });
    const count = h("input", { id: "times", "aria-label": "How often to repeat", inputmode: "numeric", value: "20" });
    const again = button("repeat", "Repeat", () => this.repeat(Number(count.value)), { title: "Call so often, and see how long each took" });
    this.stop = button("stop", "Stop", () => this.running.abort(), { hidden: true });
    this.buttons = [call, notify, again];
    const formats = [["curl", "curl", curl], ["python", "Python", python], ["javascript", "JavaScript", javascript], ["link", "Link", () => this.link()]];
    return h("div", { class: "actions" }, call, notify, button("add-to-batch", "Add to batch", () => this.addToBatch()),
      h("div", { class: "joined" }, again, count, h("span", { class: "faint", "aria-hidden": "true" }, "×")), this.stop,
      h("div", { class: "copies" }, h("span", { class: "faint" }, "Copy as"), h("div", { class: "segments", role: "group", "aria-label": "Copy as" },
        formats.map(([id, label, make]) => button(id, label, (event) => this.copyAs(event.target, make))))));
  }

  examples() {
    const found = this.method.examples ?? [];
    const paramsOf = (example) => Object.fromEntries(example.params.map((param) => [param.name, param.value]));
    const fill = (example) => this.put(write(this.requestOf(paramsOf(example))));
    return found.length ? h("p", { class: "examples" }, h("span", { class: "faint" }, "Examples"), found.map((example) => h("button", { class: "quiet", type: "button", onclick: () => fill(example) }, example.name))) : null;
  }

  draw() {
    const { method } = this;
    const more = [method["x-more-positions"] && "more values by position", method["x-more-names"] && "more members by name"].filter(Boolean).join(" and ");
    const tags = [method.deprecated && "deprecated", ...(method.tags ?? []).map((tag) => tag.name)].filter(Boolean);
    const errors = method.errors ?? [];
    $("method").replaceChildren(...[
      h("h1", {}, method.name), h("p", { class: "signature" }, ...signature(method)),
      tags.length ? h("p", { class: "tags" }, tags.map((tag) => h("span", { class: "tag" }, tag))) : null,
      method.summary ? h("p", { class: "summary" }, method.summary) : null,
      method.description ? h("p", { class: "description" }, method.description) : null,
      method.result.description ? h("p", { class: "description" }, h("b", {}, "Returns "), method.result.description) : null,
      errors.length ? h("p", { class: "description" }, h("b", {}, "Errors "), errors.map((error) => `${error.code} ${error.message}`).join(" · ")) : null,
      this.examples(),
      h("div", { class: "pair" },
        h("section", { class: "card", "aria-label": "Parameters", id: "form" }, h("h2", {}, "Parameters"), this.fields.map((member) => member.node),
          this.fields.length ? null : h("p", { class: "empty" }, more ? "" : "This method takes none."),
          more ? h("p", { class: "empty" }, `It takes ${more}: write them into the request.`) : null),
        h("section", { class: "card request" }, h("h2", {}, "Request", h("span", { class: "faint" }, `POST ${method.url}`)), this.editor, this.problem)),
      this.actions(), this.batch, this.response.node, this.history].filter(Boolean));
    this.drawBatch();
    this.drawHistory();
    $("method").scrollTop = 0;
  }
}

function signature(method) {
  const of = method.params.flatMap((param, i) => [i ? ", " : "", h("b", {}, param.name), `${param.required ? "" : "?"}: ${typeName(param.schema)}`]);
  return ["(", ...of, `) → ${typeName(method.result.schema)}`];
}

// -- around it ------------------------------------------------------------------------------------------------

let open = null;

function show(method, params) {
  shown = method;
  document.title = method.name;
  open = new MethodPage(method);
  open.draw();
  open.start(params);
  list();
}

function restore(entry) {
  const method = methods.find((other) => other.hash === entry.hash);
  if (!method) return;
  drafts.set(method, entry.text);
  if (method === shown) open.put(entry.text);
  else location.hash = method.hash;
  $("method").scrollTop = 0;
}

function follow() {
  // A link fills the form in and calls nothing: whoever opens it is to see what it does first.
  const [hash, query] = location.hash.split("?");
  const method = methods.find((m) => m.hash === hash) ?? methods[0];
  const linked = maybeParse(new URLSearchParams(query).get("params") ?? "");
  openMenu(false);
  if (method && (method !== shown || linked !== undefined)) show(method, linked);
}

function openMenu(isOpen) {
  $("methods").classList.toggle("open", isOpen);
  $("menu").setAttribute("aria-expanded", String(isOpen));
}

const THEMES = { auto: "◐ Auto", light: "☀ Light", dark: "☾ Dark" };

function theme(name) {
  if (name === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  $("theme").textContent = THEMES[name];
}

function startTheme() {
  const names = Object.keys(THEMES);
  let name = stored("localStorage", "theme", "auto");
  if (!names.includes(name)) name = "auto";
  theme(name);
  $("theme").addEventListener("click", () => {
    name = names[(names.indexOf(name) + 1) % names.length];
    store("localStorage", "theme", name);
    theme(name);
  });
}

function onKey(event) {
  const isTyping = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
  if (event.key === "/" && !isTyping) {
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
startHeaders();
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
