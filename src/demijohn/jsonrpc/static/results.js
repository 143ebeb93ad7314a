// Results as what they are: a picture, a chart, a table, a tree, or the JSON text.

import { chart } from "./chart.js";
import { h } from "./dom.js";
import { Numeral, coloured, write } from "./json.js";

const MOST_COLOURED = 200_000; // characters
const MOST_SHOWN = 500_000; // characters: what is longer takes seconds to lay out
const MOST_OF_ONE = 2_000; // characters of a value in a table or a tree
const MOST_ROWS = 500;
const MOST_CHILDREN = 100;

const isObject = (value) => value instanceof Object && !Array.isArray(value) && !(value instanceof Numeral);
const isPicture = (value) => typeof value === "string" && /^data:image\/[\w.+-]+[;,]/.test(value);

export function views(value) {
  // The names of the ways to show a value and what draws each, the best one first.
  const found = [];
  if (isPicture(value)) found.push(["Picture", () => picture(value)]);
  const table = tableOf(value);
  const columns = table && seriesOf(table);
  if (table?.isOne) found.push(["Table", () => tableView(table)]);
  if (value instanceof Object && !(value instanceof Numeral)) found.push(["Tree", () => h("div", { class: "tree", tabindex: "0", role: "group", "aria-label": "Result" }, tree(null, value, 0))]);
  if (table && !table.isOne) found.push(["Table", () => tableView(table)]);
  if (columns) found.push(["Chart", (width) => chart(columns, width)]);
  found.push(["JSON", () => text(value)]);
  return found;
}

export function text(value) {
  const written = write(value);
  return written.length < MOST_COLOURED ? pre(coloured(written)) : long(written);
}

export function long(written) {
  // Text that may be longer than a browser likes to show.
  if (written.length <= MOST_SHOWN) return pre(written);
  const note = `${written.length} characters, the first ${MOST_SHOWN} are shown`;
  return h("div", {}, pre(written.slice(0, MOST_SHOWN)), h("p", { class: "empty" }, note));
}

const pre = (content) => h("pre", { id: "result", tabindex: "0" }, content);
const cut = (written) => (written.length > MOST_OF_ONE ? `${written.slice(0, MOST_OF_ONE)}… (${written.length} characters)` : written);

function picture(url) {
  return h("img", { class: "picture", src: url, alt: "The picture that was answered" });
}

// -- tables ----------------------------------------------------------------------------------------------

function tableOf(value) {
  // { columns, rows, isOne }: `isOne` says that it is one beyond doubt. Data frames come as records, columns or split.
  if (Array.isArray(value)) {
    if (!value.length) return null;
    if (value.every(isObject)) return ofRecords(value);
    if (value.every(Array.isArray)) return ofRows(value);
    return value.every((item) => item === null || item instanceof Numeral) ? { columns: ["value"], rows: value.map((item) => [item]) } : null;
  }
  if (!isObject(value)) return null;
  const names = Object.keys(value);
  if (Array.isArray(value.columns) && Array.isArray(value.data) && value.data.every(Array.isArray)) {
    const index = Array.isArray(value.index) && value.index.length === value.data.length ? value.index : null;
    if (!index) return { columns: value.columns.map(String), rows: value.data, isOne: true };
    return { columns: ["", ...value.columns.map(String)], rows: value.data.map((row, i) => [index[i], ...row]), isOne: true };
  }
  const members = Object.values(value);
  if (names.length && members.every(Array.isArray) && members[0].length && members.every((column) => column.length === members[0].length)) {
    return { columns: names, rows: members[0].map((_, i) => members.map((column) => column[i])), isOne: true };
  }
  if (names.length > 1 && members.every((member) => !(member instanceof Object) || member instanceof Numeral)) return { columns: ["name", "value"], rows: Object.entries(value) };
  return null;
}

function ofRecords(records) {
  const columns = [...new Set(records.flatMap(Object.keys))];
  return columns.length ? { columns, rows: records.map((record) => columns.map((name) => record[name])), isOne: true } : null;
}

function ofRows(rows) {
  const width = rows.reduce((most, row) => Math.max(most, row.length), 0);
  return width ? { columns: Array.from({ length: width }, (_, i) => String(i)), rows } : null;
}

function seriesOf({ columns, rows }) {
  // The columns that hold numbers alone, over the first that holds texts; null when there is nothing to draw.
  const of = (i) => rows.map((row) => row[i] ?? null);
  const isNumeric = (values) => values.some((value) => value instanceof Numeral) && values.every((value) => value === null || value instanceof Numeral);
  const numeric = columns.map((_, i) => i).filter((i) => isNumeric(of(i)));
  const named = columns.findIndex((_, i) => of(i).every((value) => typeof value === "string"));
  if (rows.length < 2 || !numeric.length) return null;
  const asNumber = (value) => (value && Number.isFinite(Number(value.text)) ? Number(value.text) : null);
  const series = numeric.map((i) => ({ name: columns[i], values: of(i).map(asNumber) }));
  if (!series.some((one) => one.values.some((value) => value !== null))) return null;
  return { labels: named < 0 ? rows.map((_, i) => i) : of(named), series };
}

function tableView({ columns, rows }) {
  const body = h("tbody");
  const note = h("p", { class: "empty" });
  let sorted = rows;
  const fill = () => {
    body.replaceChildren(...sorted.slice(0, MOST_ROWS).map((row) => h("tr", {}, columns.map((_, i) => cell(row[i])))));
    note.textContent = `${rows.length} ${rows.length === 1 ? "row" : "rows"}${rows.length > MOST_ROWS ? `, the first ${MOST_ROWS} are shown` : ""}`;
  };
  const sort = (heading, i) => {
    const isUp = heading.getAttribute("aria-sort") !== "ascending";
    for (const other of heading.parentElement.children) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", isUp ? "ascending" : "descending");
    sorted = rows.toSorted((a, b) => compare(a[i], b[i]) * (isUp ? 1 : -1));
    fill();
  };
  const headings = columns.map((name, i) => {
    const heading = h("th", { scope: "col" }, h("button", { type: "button", onclick: () => sort(heading, i) }, name || "index"));
    return heading;
  });
  fill();
  return h("div", {}, h("div", { class: "table", tabindex: "0", role: "group", "aria-label": "Table" }, h("table", {}, h("thead", {}, h("tr", {}, headings)), body)), note);
}

function cell(value) {
  if (value === undefined || value === null) return h("td", { class: "none" }, value === null ? "null" : "");
  if (value instanceof Numeral) return h("td", { class: "number" }, value.text);
  if (isPicture(value)) return h("td", {}, picture(value));
  const text = typeof value === "string" ? value : write(value, false);
  return h("td", { class: text.length > 32 ? "long" : "short" }, cut(text));
}

function compare(a, b) {
  if (a instanceof Numeral && b instanceof Numeral) return Number(a.text) - Number(b.text);
  return write(a, false).localeCompare(write(b, false));
}

// -- trees -------------------------------------------------------------------------------------------------

function tree(name, value, depth) {
  const label = name === null ? null : h("span", { class: "k" }, `${name}: `);
  if (isPicture(value)) return h("div", {}, label, picture(value));
  if (!(value instanceof Object) || value instanceof Numeral) {
    const written = write(value);
    return h("div", { class: "leaf" }, label, written.length > MOST_OF_ONE ? cut(written) : coloured(written));
  }
  const children = Object.entries(value);
  const many = Array.isArray(value) ? `[${children.length}]` : `{${children.length}}`;
  if (!children.length) return h("div", { class: "leaf" }, label, Array.isArray(value) ? "[]" : "{}");
  const branch = h("details", {}, h("summary", {}, label, h("span", { class: "faint" }, many)));
  const grow = (from) => {
    branch.append(...children.slice(from, from + MOST_CHILDREN).map(([key, child]) => tree(key, child, depth + 1)));
    const next = from + MOST_CHILDREN;
    if (next >= children.length) return;
    const more = h("button", { class: "quiet", type: "button", onclick() { more.remove(); grow(next); } }, `${children.length - next} more`);
    branch.append(more);
  };
  // What is closed is not drawn before it is opened.
  const open = () => { if (branch.childElementCount === 1) grow(0); };
  branch.addEventListener("toggle", open);
  if (depth < 2 && children.length <= MOST_CHILDREN) { branch.open = true; open(); }
  return branch;
}
