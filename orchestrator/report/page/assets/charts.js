// Charts as SVG, drawn anew whenever their width changes.

const SERIES = 7;

function seriesColor(place) {
  return `var(--series-${place % SERIES})`;
}

function seriesDash(place) {
  return ["none", "7 3", "2 3"][Math.floor(place / SERIES) % 3];
}

function swatch(color, dash = "none") {
  const line = { x1: 0, y1: 6, x2: 26, y2: 6, stroke: color, "stroke-width": 3 };
  if (dash !== "none") line["stroke-dasharray"] = dash;
  return shape("svg", { class: "swatch", viewBox: "0 0 26 12", "aria-hidden": "true" },
    shape("line", line));
}

// Puts a chart into a host. `draw(width)` gives {height, shapes}; returns a function to redraw.
function chart(host, label, draw) {
  const canvas = shape("svg", { role: "img", "aria-label": label });
  host.append(canvas);
  let shown = 0;
  const redraw = () => {
    const width = Math.floor(host.clientWidth);
    if (!width) return;
    shown = width;
    const { height, shapes } = draw(width);
    canvas.setAttribute("viewBox", `0 0 ${width} ${height}`);
    canvas.setAttribute("width", width);
    canvas.setAttribute("height", height);
    canvas.replaceChildren(...shapes.flat(Infinity).filter(Boolean));
  };
  new ResizeObserver(() => {
    if (Math.floor(host.clientWidth) !== shown) redraw();
  }).observe(host);
  redraw();
  return redraw;
}

function extent(values) {
  const finite = values.filter(known);
  return finite.length ? [Math.min(...finite), Math.max(...finite)] : [0, 1];
}

// The same, a little wider, so that nothing sits on a border.
function roomy([low, high], share = 0.06) {
  const room = (high - low || Math.abs(high) || 1) * share;
  return [low - room, high + room];
}

function linear([low, high], [from, to]) {
  const scale = (value) => from + ((value - low) / (high - low)) * (to - from);
  scale.ticks = (most) => roundTicks(low, high, most);
  return scale;
}

function logarithmic([low, high], range) {
  const inner = linear([Math.log10(low), Math.log10(high)], range);
  const scale = (value) => inner(Math.log10(value));
  scale.ticks = (most) => {
    const all = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1) {
      all.push(...[1, 2, 5].map((step) => step * 10 ** power));
    }
    const inside = all.filter((value) => value >= low && value <= high);
    const every = Math.ceil(inside.length / most);
    return inside.length > 1 ? inside.filter((_, i) => i % every === 0) : roundTicks(low, high, most);
  };
  return scale;
}

function roundTicks(low, high, most) {
  const rough = (high - low) / Math.max(1, most);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((s) => s * power).find((s) => s >= rough);
  const ticks = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i += 1) ticks.push(i * step);
  return ticks;
}

// Enough decimals to tell ticks apart.
function tickText(ticks) {
  const step = ticks.length > 1 ? Math.abs(ticks[1] - ticks[0]) : Math.abs(ticks[0]) || 1;
  const digits = Math.max(0, Math.min(6, -Math.floor(Math.log10(step) + 1e-9)));
  return (value) => (step < 1e-6 ? value.toExponential(0) : value.toFixed(digits));
}

// Grid lines, numbers and names of both axes inside `box` = {left, right, top, bottom}.
function axes(box, x, y) {
  const parts = [];
  if (y) {
    const ticks = y.scale.ticks(5);
    const text = y.format || tickText(ticks);
    for (const value of ticks) {
      const at = y.scale(value);
      parts.push(shape("line", { class: "grid", x1: box.left, x2: box.right, y1: at, y2: at }));
      parts.push(shape("text", { class: "faint", x: box.left - 6, y: at + 4, "text-anchor": "end" },
        text(value)));
    }
    parts.push(shape("text", { class: "faint", x: 0, y: 12 }, y.name));
  }
  const ticks = x.ticks || x.scale.ticks(Math.max(2, Math.floor((box.right - box.left) / 80)));
  const text = x.format || tickText(ticks);
  for (const value of ticks) {
    const at = x.scale(value);
    const ends = { x1: at, x2: at, y1: y ? box.bottom : box.top, y2: box.bottom + (y ? 5 : 0) };
    parts.push(shape("line", { class: "grid", ...ends }));
    parts.push(shape("text", { class: "faint", x: at, y: box.bottom + 18, "text-anchor": "middle" },
      text(value)));
  }
  const rule = { x1: box.left, x2: box.right, y1: box.bottom, y2: box.bottom };
  parts.push(shape("line", { class: "axis", ...rule }));
  const name = { class: "faint", x: box.right, y: box.bottom + 36, "text-anchor": "end" };
  parts.push(shape("text", name, x.name));
  return parts;
}

// A path through the points that are known; it breaks where one is missing.
function path(points) {
  let text = "";
  let pen = "M";
  for (const [x, y] of points) {
    if (known(x) && known(y)) {
      text += `${pen}${x.toFixed(1)} ${y.toFixed(1)}`;
      pen = "L";
    } else pen = "M";
  }
  return text;
}

// A circle, square or triangle: organs differ in shape as well as in color.
function mark(place, x, y, size, attributes, title) {
  const hint = shape("title", {}, title);
  if (place % 3 === 0) return shape("circle", { cx: x, cy: y, r: size, ...attributes }, hint);
  if (place % 3 === 1) {
    const side = size * 1.8;
    const corner = { x: x - side / 2, y: y - side / 2, width: side, height: side };
    return shape("rect", { ...corner, ...attributes }, hint);
  }
  const h = size * 1.25;
  return shape("path", { d: `M${x} ${y - h}L${x + h} ${y + h * 0.8}L${x - h} ${y + h * 0.8}z`,
    ...attributes }, hint);
}
