"use strict";
// Elements, and numbers as text. Text from the run is only ever set as text, never as markup.

const DATA = JSON.parse(document.getElementById("data").textContent);
const ORGANS = DATA.run.organs;
// More organs than these are rows of a table, not columns.
const MOST_ORGAN_COLUMNS = 12;

// A number with its word.
function counted(number, word) {
  return `${number} ${word}${number === 1 ? "" : "s"}`;
}

// An organ's color is by its place, as in every picture.
function organColor(place) {
  return `var(--organ-${place})`;
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "css") Object.entries(value).forEach(([k, v]) => node.style.setProperty(k, v));
    else node.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined) node.append(child);
  }
  return node;
}

function element(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

function shape(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function section(id) {
  return document.getElementById(id);
}

// By the candidate's key: what the statistics say of it; empty without them.
function judged() {
  return DATA.statistics ? DATA.statistics.candidates : {};
}

function known(value) {
  return typeof value === "number" && Number.isFinite(value);
}

// Four decimals without the leading zero, as in the terminal.
function decimal(value, digits = 4) {
  return known(value) ? value.toFixed(digits).replace(/^(-?)0\./, "$1.") : "-";
}

function signed(value, digits = 4) {
  return known(value) ? (value < 0 ? "" : "+") + decimal(value, digits) : "-";
}

function duration(seconds) {
  if (!known(seconds)) return "-";
  const whole = Math.round(seconds);
  const padded = (number) => String(number).padStart(2, "0");
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${padded(whole % 60)} s`;
  return `${Math.floor(whole / 3600)} h ${padded(Math.floor((whole % 3600) / 60))} min`;
}

function count(value) {
  if (!known(value)) return "-";
  if (value >= 1e6) return `${(value / 1e6).toFixed(2)} M`;
  return value >= 1e4 ? `${(value / 1e3).toFixed(0)} k` : String(value);
}

function bytes(value) {
  if (!known(value)) return "-";
  return value >= 1e9 ? `${(value / 1e9).toFixed(2)} GB` : `${(value / 1e6).toFixed(0)} MB`;
}

const WRITTEN = {
  rank: (value) => String(value),
  text: (value) => value,
  score: (value) => decimal(value),
  epoch: (value) => (known(value) ? value.toFixed(1) : "-"),
  seconds: duration,
  count,
  bytes,
};

// A label of its own around a control.
function labelled(text, control, ...after) {
  return element("label", {}, element("span", {}, text), control, ...after);
}

function choice(options, onchange) {
  const items = options.map(({ key, name }) => element("option", { value: key }, name));
  const control = element("select", {}, items);
  control.addEventListener("change", () => onchange(control.value));
  return control;
}

function tick(text, checked, onchange, swatch = null) {
  const box = element("input", { type: "checkbox", checked });
  box.addEventListener("change", () => onchange(box.checked));
  return element("label", {}, box, swatch, element("span", {}, text));
}

// The first few, and how many more there are.
function listed(names, most) {
  const more = names.length - most;
  return names.slice(0, most).join(", ") + (more > 0 ? ` and ${more} more` : "");
}

function shortened(text, pixels) {
  const most = Math.max(6, Math.floor(pixels / 6.6));
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}
