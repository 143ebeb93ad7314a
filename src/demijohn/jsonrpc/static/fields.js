// Form fields of JSON Schemas. A field is { node, focus, get, set }: the element, the control that its label is for, and
// its value, undefined as long as it cannot be sent. `changed` is called after the user has changed it.

import { h } from "./dom.js";
import { Numeral, maybeParse, plain, write } from "./json.js";
import { eitherOf, first, fits, limits, resolve, typeName } from "./schema.js";

const DEEPEST = 5; // what lies further down is written as JSON
let ids = 0;

export function field(schema, changed, depth = 0) {
  schema = resolve(schema);
  if (schema.enum) return choice(schema.enum, changed);
  if (schema.const !== undefined) return choice([schema.const], changed);
  if (eitherOf(schema)) return variants(eitherOf(schema), changed, depth);
  if (depth > DEEPEST) return anyJson(changed);
  if (schema.type === "boolean") return choice([false, true], changed);
  if (schema.type === "null") return { node: h("p", { class: "unsent" }, "null"), get: () => null, set() {} };
  if (schema.type === "integer" || schema.type === "number") return number(schema, changed);
  if (schema.type === "string") return string(schema, changed);
  if (schema.type === "array") return Array.isArray(schema.items) ? tuple(schema.items, changed, depth) : items(schema.items ?? {}, changed, depth);
  if (schema.type === "object" && schema.properties) return members(schema, changed, depth);
  if (schema.type === "object" && schema.additionalProperties instanceof Object) return entries(schema.additionalProperties, changed, depth);
  return anyJson(changed);
}

// -- one value -----------------------------------------------------------------------------------------

function input(properties, changed, read, show) {
  const node = h(properties.rows ? "textarea" : "input", { id: `f${++ids}`, spellcheck: false, autocomplete: "off", ...properties, oninput: changed });
  return { node, focus: node, get: () => read(node), set: (value) => { node.value = show(value); } };
}

function marked(node, value) {
  node.setAttribute("aria-invalid", String(value === undefined));
  return value;
}

function number(schema, changed) {
  // As text: browsers round what <input type=number> holds, and JSON's integers have no limit.
  const like = schema.type === "integer" ? /^-?(0|[1-9]\d*)$/ : /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/;
  const read = (node) => marked(node, like.test(node.value.trim()) ? new Numeral(node.value.trim()) : undefined);
  return input({ inputmode: schema.type === "integer" ? "numeric" : "decimal" }, changed, read, (value) => String(value ?? ""));
}

const HINTS = { "date-time": "2026-01-31T12:00:00Z", time: "12:00:00", uuid: "123e4567-e89b-12d3-a456-426614174000", duration: "PT90S" };

function string(schema, changed) {
  const show = (value) => (typeof value === "string" ? value : "");
  if (schema.format === "date") return input({ type: "date" }, changed, (node) => node.value, show);
  const isShort = schema.maxLength <= 80 || schema.format;
  const text = input(isShort ? { placeholder: HINTS[schema.format] ?? "" } : { rows: "1" }, changed, (node) => node.value, show);
  return isShort && !isFile(schema) ? text : fromFile(schema, text, changed);
}

const isFile = (schema) => /^(data-url|binary|byte|base64)$/.test(schema.format) || schema.contentEncoding || schema.contentMediaType;

function fromFile(schema, text, changed) {
  // The content of a file takes the place of what was typed: as data: URL, in base64, or as text.
  const pick = h("input", { type: "file", hidden: true, accept: schema.contentMediaType, "aria-label": "File", async onchange() {
    if (!pick.files.length) return;
    text.set(await contentOf(pick.files[0], schema));
    changed();
  } });
  return { ...text, node: h("div", { class: "file" }, text.node, pick, h("button", { class: "quiet", type: "button", onclick: () => pick.click() }, "File…")) };
}

function contentOf(file, schema) {
  const isUrl = schema.format === "data-url";
  if (!isUrl && !schema.contentEncoding && !/^(byte|base64)$/.test(schema.format)) return file.text();
  return new Promise((done, failed) => {
    const reader = new FileReader();
    reader.onload = () => done(isUrl ? reader.result : reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => failed(reader.error);
    reader.readAsDataURL(file);
  });
}

function choice(values, changed) {
  const node = h("select", { id: `f${++ids}`, onchange: changed }, values.map((value) => h("option", {}, typeof value === "string" ? value : JSON.stringify(value))));
  const at = (value) => values.findIndex((known) => write(known, false) === write(value, false));
  return { node, focus: node, get: () => values[node.selectedIndex], set: (value) => { node.selectedIndex = Math.max(0, at(value)); } };
}

function anyJson(changed) {
  return input({ rows: "2", placeholder: "any JSON" }, changed, (node) => marked(node, maybeParse(node.value)), (value) => write(value, false));
}

// -- many values ---------------------------------------------------------------------------------------

function rows(make, adding, changed) {
  // Rows to add and remove; `make(value)` gives the field of one.
  const place = h("div", { class: "items" });
  let fields = [];
  const add = (value) => {
    const item = make(value);
    const row = h("div", {}, item.node, h("button", { class: "quiet", type: "button", "aria-label": "Remove this item", onclick() {
      fields = fields.filter((other) => other !== item);
      row.remove();
      changed();
    } }, "×"));
    fields.push(item);
    place.append(row);
    return item;
  };
  const node = h("div", { class: "group" }, place, h("button", { class: "quiet", type: "button", onclick() {
    add().focus?.focus();
    changed();
  } }, adding));
  return { node, all: () => fields, reset(values) { fields = []; place.replaceChildren(); values.forEach(add); } };
}

const whole = (values) => (values.includes(undefined) ? undefined : values);

function items(schema, changed, depth) {
  const list = rows((value) => {
    const item = field(schema, changed, depth + 1);
    item.focus?.setAttribute("aria-label", "Item");
    item.set(value === undefined ? first(schema, depth + 1) : value);
    return item;
  }, "Add an item", changed);
  return { node: list.node, get: () => whole(list.all().map((item) => item.get())), set: (value) => list.reset(Array.isArray(value) ? value : []) };
}

function entries(schema, changed, depth) {
  // The members of an object whose names are not known before.
  const list = rows(([name, value] = ["", first(schema, depth + 1)]) => {
    const key = h("input", { "aria-label": "Name", placeholder: "name", spellcheck: false, autocomplete: "off", oninput: changed });
    const inner = field(schema, changed, depth + 1);
    inner.focus?.setAttribute("aria-label", "Value");
    key.value = name;
    inner.set(value);
    const get = () => { const of = inner.get(); return of === undefined ? undefined : [key.value, of]; };
    return { node: h("div", { class: "entry" }, key, inner.node), focus: key, get };
  }, "Add a member", changed);
  return {
    node: list.node,
    get: () => { const all = whole(list.all().map((item) => item.get())); return all && Object.fromEntries(all); },
    set: (value) => list.reset(value instanceof Object ? Object.entries(value) : []),
  };
}

function tuple(schemas, changed, depth) {
  const all = schemas.map((schema, i) => labelled({ name: `${i + 1}.`, schema, required: true }, changed, depth + 1));
  return {
    node: h("div", { class: "group" }, all.map((item) => item.node)),
    get: () => whole(all.map((item) => item.get())),
    set: (value) => all.forEach((item, i) => (Array.isArray(value) && i < value.length ? item.set(value[i]) : item.leave())),
  };
}

function members(schema, changed, depth) {
  const required = schema.required ?? [];
  const all = Object.entries(schema.properties).map(([name, of]) => labelled({ name, schema: of, required: required.includes(name) }, changed, depth + 1));
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
    current.focus?.setAttribute("aria-label", "Value");
    place.replaceChildren(...(resolve(either[index]).type === "null" ? [] : [current.node]));
  };
  show(0, first(either[0], depth));
  return {
    node: h("div", { class: "either" }, pick, place), focus: pick, get: () => current.get(),
    set: (value) => show(Math.max(0, either.findIndex((schema) => fits(schema, plain(value)))), value),
  };
}

// -- members with a name ---------------------------------------------------------------------------------

export function labelled({ name, schema, required, description, deprecated }, changed, depth = 0) {
  const known = resolve(schema);
  const told = description ?? known.description;
  const place = h("div", {});
  const title = h("label", {}, name);
  const send = required ? null : h("input", { type: "checkbox", onchange() { turn(send.checked); changed(); } });
  const standIn = h("p", { class: "unsent" }, known.default !== undefined ? ["Not sent: the default is ", h("code", {}, write(known.default, false))] : "Not sent");
  let inner = null;
  const made = () => {
    // Not before it is wanted: a class may hold itself.
    if (inner) return inner;
    inner = field(schema, changed, depth);
    if (inner.focus) title.htmlFor = inner.focus.id;
    inner.set(first(schema, depth));
    return inner;
  };
  const turn = (on) => {
    if (send) send.checked = on;
    place.replaceChildren(on ? made().node : standIn);
  };
  turn(required);
  return {
    name, required,
    node: h("div", { class: "field", role: "group", "aria-label": name },
      h("div", { class: "label" }, title, h("small", {}, [typeName(schema), limits(known)].filter(Boolean).join(", ")),
        deprecated ? h("small", { class: "tag" }, "deprecated") : null,
        send ? h("label", { class: "send" }, send, "send") : null),
      told ? h("p", { class: "told-of" }, told) : null, place),
    sent: () => required || send.checked,
    get: () => made().get(),
    set(value) { made().set(value); turn(true); },
    leave: () => turn(required),
  };
}

export function collect(all) {
  const sent = all.filter((member) => member.sent());
  const values = whole(sent.map((member) => member.get()));
  return values && Object.fromEntries(sent.map((member, i) => [member.name, values[i]]));
}

export function distribute(all, values) {
  for (const member of all) {
    if (Object.hasOwn(values, member.name)) member.set(values[member.name]);
    else member.leave();
  }
}
