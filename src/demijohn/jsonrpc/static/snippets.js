// A request as a command or a program, to do elsewhere what the page does.

import { Numeral, maybeParse, write } from "./json.js";

const CONTENT_TYPE = { "Content-Type": "application/json" };

function compact(text) {
  const value = maybeParse(text);
  return value === undefined ? text : write(value, false);
}

export function curl(url, text, headers) {
  const quoted = (word) => `'${word.replaceAll("'", String.raw`'\''`)}'`;
  const fields = Object.entries({ ...CONTENT_TYPE, ...headers }).map(([name, value]) => ` -H ${quoted(`${name}: ${value}`)}`);
  return `curl -X POST ${quoted(url)}${fields.join("")} -d ${quoted(compact(text))}`;
}

export function javascript(url, text, headers) {
  const value = maybeParse(text);
  const isExact = value !== undefined && write(JSON.parse(text), false) === write(value, false); // JavaScript rounds numbers
  const body = isExact ? `JSON.stringify(${write(value).replaceAll("\n", "\n  ")})` : JSON.stringify(compact(text));
  const answer = hasAnswer(value) ? "console.log(await answer.json());\n" : "";
  return `const answer = await fetch(${JSON.stringify(url)}, {
  method: "POST",
  headers: ${write({ ...CONTENT_TYPE, ...headers }, false)},
  body: ${body},
});
${answer}`;
}

const isRequest = (value) => value instanceof Object && typeof value.method === "string";
const hasAnswer = (value) => (Array.isArray(value) ? value : [value]).some((request) => !isRequest(request) || "id" in request);

export function python(url, text, headers) {
  // By the client of demijohn; undefined for what is no request, which it would not send.
  const value = maybeParse(text);
  const calls = Array.isArray(value) ? value : [value];
  if (!calls.length || !calls.every(isRequest)) return undefined;
  const given = Object.keys(headers).length ? `, headers=${literal(headers)}` : "";
  const call = (on, { method, params, id }) =>
    `${on}.${id === undefined ? "notify" : "call"}(${JSON.stringify(method)}${params === undefined ? "" : `, ${literal(params)}`})`;
  const start = `from demijohn.jsonrpc import Client\n\nwith Client(${JSON.stringify(url)}${given}) as client:\n`;
  if (!Array.isArray(value)) return start + (value.id === undefined ? `    ${call("client", value)}\n` : `    print(${call("client", value)})\n`);
  const lines = calls.map((each) => `        ${each.id === undefined ? call("batch", each) : `answers.append(${call("batch", each)})`}\n`);
  return `${start}    answers = []\n    with client.batch() as batch:\n${lines.join("")}    for answer in answers:\n        print(answer.result())\n`;
}

function literal(value) {
  // What JSON and Python write alike stays; a number may be larger than Python's float, and is then infinite there too.
  if (value === true) return "True";
  if (value === false) return "False";
  if (value === null) return "None";
  if (value instanceof Numeral) return value.text;
  if (typeof value === "string") return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(literal).join(", ")}]`;
  return `{${Object.entries(value).map(([name, item]) => `${JSON.stringify(name)}: ${literal(item)}`).join(", ")}}`;
}
