// JSON text to values and back. Numbers keep the digits they were written with: JavaScript would round 12345678901234567890.

import { h } from "./dom.js";

export class Numeral {
  constructor(text) { this.text = text; }
  toString() { return this.text; }
}

// A string may have megabytes: an alternative for each character of it would be more than the browser's stack holds.
const PIECE = /\s+|"[^"\\]*(?:\\.[^"\\]*)*"|-?\d[\d.eE+-]*|true|false|null|[[\]{}:,]/;
const TOKEN = new RegExp(PIECE, "y");

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

export function parse(text) {
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

export function maybeParse(text) {
  try { return parse(text); } catch { return undefined; }
}

export function plain(value) {
  return value === undefined ? undefined : JSON.parse(write(value, false));
}

export function write(value, pretty = true, indent = "") {
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

export function coloured(text) {
  const kind = (token, next) => (token[0] === '"' ? (next === ":" ? "k" : "s") : /^[-\d]/.test(token) ? "n" : /^[tfn]/.test(token) ? "w" : "");
  const pieces = text.match(new RegExp(PIECE, "g")) ?? [];
  return pieces.map((piece, i) => { const name = kind(piece, pieces[i + 1]); return name ? h("span", { class: name }, piece) : piece; });
}
