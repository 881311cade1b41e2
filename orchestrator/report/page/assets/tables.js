// Tables: plain ones, and ones whose cells are tinted.

// A region that scrolls sideways and can be reached by keyboard.
function wide(label, table) {
  table.setAttribute("aria-label", label);
  return element("div", { class: "wide", role: "region", "aria-label": label, tabindex: 0 }, table);
}

// The same below a heading of its own, which does not scroll along.
function captioned(caption, table) {
  return element("div", {}, element("p", { class: "caption" }, caption), wide(caption, table));
}

// `rows` are arrays of text; the first cell names the row.
function plainTable(caption, header, rows) {
  const cells = header.map((text, i) => element("th", { scope: "col", class: i ? null : "name" }, text));
  const body = rows.map(([name, ...values]) =>
    element("tr", {}, element("th", { scope: "row" }, name),
      values.map((value) => element("td", {}, value))));
  return captioned(caption, element("table", {},
    element("thead", {}, element("tr", {}, cells)), element("tbody", {}, body)));
}

// One row a name and one column an organ; turned where there are many organs. `cells[n]`: by organ.
function organRowsOrColumns(caption, what, names, cells) {
  if (ORGANS.length <= MOST_ORGAN_COLUMNS) {
    return plainTable(caption, [what, ...ORGANS.map((organ) => organ.name)],
      names.map((name, n) => [name, ...cells[n]]));
  }
  return plainTable(caption, ["organ", ...names],
    ORGANS.map((organ, place) => [organ.name, ...names.map((_, n) => cells[n][place])]));
}

// The figures of a chart for those who cannot see it, or want them.
function figuresBehind(build) {
  const details = element("details", {}, element("summary", {}, "The figures as a table"));
  const refresh = () => {
    if (details.childElementCount > 1) details.lastElementChild.remove();
    if (details.open) details.append(build());
  };
  details.addEventListener("toggle", refresh);
  return { details, refresh };
}

const PALE_TO_DARK = ["#f1f5fa", "#a9cbe8", "#4a8fca", "#0b3c6f"];
const ORANGE_TO_BLUE = ["#a34f00", "#f3b26b", "#f7f7f7", "#7fb2dd", "#17538f"];

function between(stops, share) {
  const place = Math.min(0.99999, Math.max(0, share)) * (stops.length - 1);
  const first = Math.floor(place);
  const part = (hex, i) => parseInt(hex.slice(1 + 2 * i, 3 + 2 * i), 16);
  return [0, 1, 2].map((i) => {
    const [from, to] = [part(stops[first], i), part(stops[first + 1], i)];
    return Math.round(from + (to - from) * (place - first));
  });
}

// Black or white, whichever reads better on a color (WCAG's relative luminance).
function inkOn(rgb) {
  const [r, g, b] = rgb.map((v) => (v / 255 <= 0.04045 ? v / 3294.6 : ((v / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#000" : "#fff";
}

function tinted(value, text, share, stops) {
  if (!known(value)) return element("td", {}, "-");
  const rgb = between(stops, share);
  return element("td", { css: { "background-color": `rgb(${rgb.join(",")})`, color: inkOn(rgb) } }, text);
}

// A tinted table. `spec`: {caption, corner, columns, rows, values, text} and, where wanted, `stops`
// of color and their `domain`.
function heatTable(spec) {
  const stops = spec.stops || PALE_TO_DARK;
  const [low, high] = spec.domain || extent(spec.values.flat());
  const share = (value) => (high > low ? (value - low) / (high - low) : 0.5);
  const head = [element("th", { scope: "col", class: "name" }, spec.corner),
    ...spec.columns.map((name) => element("th", { scope: "col" }, name))];
  const body = spec.rows.map((name, r) =>
    element("tr", {}, element("th", { scope: "row" }, name),
      spec.values[r].map((value) => tinted(value, spec.text(value), share(value), stops))));
  return captioned(spec.caption, element("table", { class: "heat" },
    element("thead", {}, element("tr", {}, head)), element("tbody", {}, body)));
}
