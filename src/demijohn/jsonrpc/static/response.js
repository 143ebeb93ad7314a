// The answer to a call on the page.

import { ms, summary } from "./calls.js";
import { chart } from "./chart.js";
import { copy, h } from "./dom.js";
import { maybeParse, write } from "./json.js";
import { long, text, views } from "./results.js";

export function outcome(status, ok, parsed) {
  // What became of a call in two words, and whether that is good.
  if (status === 204) return ["No answer, as asked", true];
  if (parsed?.error) return [`Error ${parsed.error.code}`, false];
  if (Array.isArray(parsed)) return ["Batch", ok];
  return parsed instanceof Object && "result" in parsed ? ["Result", ok] : ["Not JSON-RPC", false];
}

// Server-Timing has the whole first: a batch, or the method.
function inServer(timing) {
  const took = /dur=([\d.]+)/.exec(timing)?.[1];
  return took ? [h("span", { title: timing }, `${ms(Number(took))} in the server`)] : [];
}

export class ResponseCard {
  constructor() {
    this.node = h("section", { class: "card response idle", "aria-live": "polite", id: "response" }, h("h2", {}, "Response"), h("p", { class: "empty" }, "Nothing called yet."));
  }

  show({ status, ok, content, ms: took, timing }) {
    const parsed = maybeParse(content);
    const [pill, isGood] = outcome(status, ok, parsed);
    this.fill(!isGood, [h("span", { class: "pill" }, pill), h("span", {}, `HTTP ${status}`), h("span", { id: "latency" }, ms(took)), h("span", {}, `${new Blob([content]).size} bytes`), ...inServer(timing)],
      ...(status === 204 ? [h("p", { class: "empty" }, "A notification is never answered.")] : parsed === undefined ? [long(content)] : this.content(parsed)));
  }

  content(parsed) {
    if (Array.isArray(parsed) && parsed.length && parsed.every((member) => member instanceof Object)) return [this.choices([["Answers", () => answers(parsed)], ["JSON", () => text(parsed)]])];
    const isResult = parsed instanceof Object && "result" in parsed;
    return [parsed?.error ? told(parsed.error) : null, this.choices(isResult ? views(parsed.result) : [["JSON", () => text(parsed)]], isResult ? parsed.result : parsed)];
  }

  get width() {
    return Math.max(280, this.node.clientWidth - 40);
  }

  choices(found, value) {
    const place = h("div", { class: "view" });
    const pick = (name) => {
      place.replaceChildren(found.find(([other]) => other === name)[1](this.width));
      for (const button of buttons) button.setAttribute("aria-pressed", String(button.textContent === name));
    };
    const buttons = found.map(([name]) => h("button", { type: "button", onclick: () => pick(name) }, name));
    pick(found[0][0]);
    return h("div", {}, h("div", { class: "bar" },
      found.length > 1 ? h("div", { class: "segments", role: "group", "aria-label": "Shown as" }, buttons) : null,
      value === undefined ? null : h("button", { class: "quiet", type: "button", onclick: (event) => copy(event.target, typeof value === "string" ? value : write(value)) }, "Copy")), place);
  }

  showRepeated({ latencies, failures }) {
    if (!latencies.length) { this.showFailure("Stopped before the first answer."); return; }
    const facts = summary(latencies).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)));
    this.fill(failures > 0, [h("span", { class: "pill" }, `${latencies.length} calls`), h("span", {}, failures ? `${failures} with an error` : "no errors"), h("span", {}, "one after the other, as measured here")],
      h("dl", { class: "figures", id: "figures" }, facts));
    if (latencies.length > 1) this.node.append(chart({ labels: latencies.map((_, i) => i + 1), series: [{ name: "latency", values: latencies }], unit: " ms" }, this.width));
  }

  showFailure(message) {
    this.fill(true, [h("span", { class: "pill" }, "Failed")], h("p", { class: "told" }, message));
  }

  fill(isBad, facts, ...content) {
    this.node.className = `card response${isBad ? " bad" : ""}`;
    this.node.replaceChildren(h("h2", {}, "Response"), h("div", { class: "facts" }, facts.filter(Boolean)), ...content.filter(Boolean));
    this.node.scrollIntoView({ block: "nearest" });
  }
}

function told(error) {
  const words = [error.message, error.data?.message].filter((part) => typeof part === "string");
  return words.length ? h("p", { class: "told" }, words.join(": ")) : null;
}

function answers(members) {
  return h("ol", { class: "answers" }, members.map((member) => {
    const [pill, isGood] = outcome(200, true, member);
    return h("li", { class: isGood ? "" : "bad" }, h("div", { class: "facts" }, h("span", { class: "pill" }, pill), h("span", {}, `id ${write(member.id ?? null)}`)),
      member.error ? told(member.error) : views(member.result ?? null)[0][1](560));
  }));
}
