// Calls of methods, what they took, and the list of those that were made.

import { store, stored } from "./dom.js";
import { headers } from "./headers.js";

const MOST_KEPT = 40;
const LONGEST_KEPT = 20_000; // characters

export async function post(url, text, signal) {
  // { status, ok, content, ms, timing }. Raises what fetch does.
  const started = performance.now();
  const answer = await fetch(url, { method: "POST", headers: { "Content-Type": "application/json", ...headers() }, body: text, signal });
  const content = await answer.text();
  return { status: answer.status, ok: answer.ok, content, ms: performance.now() - started, timing: answer.headers.get("Server-Timing") };
}

export async function repeat(url, text, count, signal, onEach) {
  // Call one after the other, until all are done or the signal says stop; { latencies in ms, failures }.
  const latencies = [];
  let failures = 0;
  while (latencies.length < count && !signal.aborted) {
    const answer = await post(url, text, signal).catch((error) => { if (!signal.aborted) throw error; });
    if (!answer) break;
    latencies.push(answer.ms);
    if (!answer.ok) failures += 1;
    onEach(latencies.length);
  }
  return { latencies, failures };
}

export function summary(latencies) {
  const sorted = latencies.toSorted((a, b) => a - b);
  const at = (part) => sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))];
  const total = latencies.reduce((a, b) => a + b, 0);
  return [["fastest", ms(sorted[0])], ["median", ms(at(0.5))], ["95 %", ms(at(0.95))], ["slowest", ms(sorted.at(-1))], ["per second", String(Math.round((1000 * latencies.length) / total))]];
}

export const ms = (duration) => `${duration < 10 ? duration.toFixed(1) : Math.round(duration)} ms`;

// Until the tab is closed: parameters may be secrets.
export const history = () => stored("sessionStorage", "history", []);

export function remember(entry) {
  if (entry.text.length > LONGEST_KEPT) return;
  store("sessionStorage", "history", [{ at: Date.now(), ...entry }, ...history()].slice(0, MOST_KEPT));
}

export const forget = () => store("sessionStorage", "history", []);
