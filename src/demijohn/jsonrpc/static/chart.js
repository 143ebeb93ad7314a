// A chart of columns of numbers, as SVG: bars where rows have names and are few, else lines.

import { h, svg } from "./dom.js";

const HEIGHT = 260;
const COLOURS = 6;
const MOST_BARS = 24;
const MOST_POINTS = 60; // of which each is marked

const short = (number) => (Math.abs(number) >= 1e6 || (number !== 0 && Math.abs(number) < 1e-3) ? number.toExponential(1) : String(+number.toPrecision(6)));

function ticks(low, high) {
  // Round numbers that take in both.
  const rough = (high - low || Math.abs(high) || 1) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999);
  const from = Math.floor(low / step);
  const to = Math.max(Math.ceil(high / step), from + 1);
  return Array.from({ length: to - from + 1 }, (_, i) => (from + i) * step);
}

export function chart({ labels, series, unit = "" }, width = 700) {
  // `labels` are of the rows, `series` are { name, values }, where null is missing.
  series = series.slice(0, COLOURS);
  const count = labels.length;
  const areBars = count <= MOST_BARS && labels.some((label) => typeof label === "string");
  const values = series.flatMap((one) => one.values).filter((value) => value !== null);
  const low = values.reduce((a, b) => Math.min(a, b), Infinity);
  const high = values.reduce((a, b) => Math.max(a, b), -Infinity);
  const marks = ticks(areBars ? Math.min(0, low) : low, areBars ? Math.max(0, high) : high);
  const [bottom, top] = [marks[0], marks.at(-1)];
  const left = 14 + 7 * Math.max(...marks.map((mark) => short(mark).length));
  const box = { left, right: width - 12, top: 12, bottom: HEIGHT - 28 };
  const y = (value) => box.bottom - ((value - bottom) / (top - bottom)) * (box.bottom - box.top);
  const slot = (box.right - box.left) / (areBars ? count : Math.max(1, count - 1));
  const x = (i) => box.left + slot * (areBars ? i + 0.5 : i);
  const grid = marks.map((mark) => svg("g", {}, svg("line", { class: "rule", x1: box.left, x2: box.right, y1: y(mark), y2: y(mark) }),
    svg("text", { x: box.left - 8, y: y(mark) + 4, "text-anchor": "end" }, short(mark))));
  const every = Math.ceil((count * 64) / (box.right - box.left));
  const names = labels.map((label, i) => (i % every ? null
    : svg("text", { x: x(i), y: HEIGHT - 8, "text-anchor": areBars ? "middle" : i ? (i === count - 1 ? "end" : "middle") : "start" }, cut(String(label), every > 1 ? 9 : slot / 7)))).filter(Boolean);
  const told = (one, i) => svg("title", {}, `${labels[i]} · ${one.name}: ${short(one.values[i])}${unit}`);
  const drawn = series.map((one, n) => {
    if (areBars) {
      const wide = Math.min(48, (slot * 0.72) / series.length);
      return svg("g", { class: `bars c${n}` }, one.values.map((value, i) => value === null ? [] : svg("rect", { x: x(i) + (n - series.length / 2) * wide, width: Math.max(1, wide - 1), y: Math.min(y(value), y(0)), height: Math.max(1, Math.abs(y(value) - y(0))), rx: 2 }, told(one, i))).flat());
    }
    let pen = "M";
    const path = one.values.map((value, i) => {
      if (value === null) { pen = "M"; return ""; }
      const step = `${pen}${x(i).toFixed(1)} ${y(value).toFixed(1)}`;
      pen = "L";
      return step;
    }).join("");
    const points = count > MOST_POINTS ? [] : one.values.flatMap((value, i) => value === null ? [] : svg("circle", { cx: x(i), cy: y(value), r: 3 }, told(one, i)));
    return svg("g", { class: `line c${n}` }, svg("path", { d: path }), points);
  });
  const label = `Chart of ${series.map((one) => one.name).join(", ")}: ${count} values from ${short(low)}${unit} to ${short(high)}${unit}`;
  return h("figure", { class: "chart" },
    svg("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": label }, grid, names, drawn),
    series.length > 1 ? h("figcaption", {}, series.map((one, n) => h("span", { class: `c${n}` }, one.name))) : null);
}

const cut = (text, length) => (text.length > length ? `${text.slice(0, Math.max(1, length - 1))}…` : text);
