// Elements, and what the browser keeps.

export const $ = (id) => document.getElementById(id);

export function h(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name in node && typeof value !== "string") node[name] = value;
    else if (value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.flat().filter((child) => child != null));
  return node;
}

export function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children.flat());
  return node;
}

// A value under a name, in localStorage (kept) or sessionStorage (until the tab is closed). A browser that keeps
// nothing still shows the page.
export function stored(storage, name, otherwise) {
  try { return JSON.parse(window[storage].getItem(`demijohn-${name}`)) ?? otherwise; } catch { return otherwise; }
}

export function store(storage, name, value) {
  try { window[storage].setItem(`demijohn-${name}`, JSON.stringify(value)); } catch { /* see above */ }
}

export async function copy(button, text) {
  button.dataset.label ??= button.textContent; // it may still say "Copied"
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without https, and not on localhost, browsers keep the clipboard from pages: let the user take it.
    const area = h("textarea", { "aria-label": "Text to copy", rows: "4", onblur: () => area.remove() });
    area.value = text;
    button.parentElement.after(area);
    area.select();
    return;
  }
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = button.dataset.label; }, 1200);
}
