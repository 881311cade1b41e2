// Dice by place in the scan and by size of the image.

function organKey(place) {
  return shape("svg", { class: "swatch", viewBox: "0 0 26 12", "aria-hidden": "true" },
    mark(place, 13, 6, 5, { fill: organColor(place) }, ORGANS[place].name));
}

// A legend; where there are more organs than a chart can show, one that chooses them.
function organLegend(drawn, onchange) {
  if (drawn.size === ORGANS.length) {
    return element("p", { class: "controls note" }, ORGANS.map((organ, i) =>
      element("span", { class: "key" }, organKey(i), ` ${organ.name}`)));
  }
  return element("fieldset", { class: "many" }, element("legend", {}, "organs drawn (at first the "
    + "worst and the best of the first candidate)"), ORGANS.map((organ, i) =>
    tick(organ.name, drawn.has(i), (checked) => {
      if (checked) drawn.add(i);
      else drawn.delete(i);
      onchange();
    }, organKey(i))));
}

function drawTenths(one, drawn, width) {
  const box = { left: 40, right: width - 24, top: 24, bottom: 260 };
  const x = linear([0, 100], [box.left, box.right]);
  const y = linear([0, 1], [box.bottom, box.top]);
  const ticks = width < 420 ? [0, 50, 100] : [0, 20, 40, 60, 80, 100];
  const shapes = axes(box, { scale: x, ticks, format: (v) => `${v} %`,
    name: "place in the scan, first to last slice" }, { scale: y, name: "mean Dice" });
  ORGANS.forEach((organ, i) => {
    if (!drawn.has(i)) return;
    const places = one.tenths[organ.key];
    const points = places.map(([dice], t) => [x(t * 10 + 5), dice === null ? null : y(dice)]);
    shapes.push(shape("path", { d: path(points), fill: "none", stroke: organColor(i),
      "stroke-width": 2 }));
    points.forEach(([px, py], t) => {
      const [dice, n] = places[t];
      if (dice !== null) shapes.push(mark(i, px, py, 5, { fill: organColor(i) },
        `${organ.name}, ${t * 10} to ${t * 10 + 10} %: ${decimal(dice, 3)}, ${counted(n, "slice")}`));
    });
  });
  return { height: box.bottom + 42, shapes };
}

function drawSizes(one, drawn, width) {
  const box = { left: 8, right: width - 12, top: 8, bottom: 8 + one.sizes.length * 44 };
  const x = linear([0, 1], [box.left + 8, box.right - 8]);
  const shapes = axes(box, { scale: x, name: "mean Dice of slices" }, null);
  one.sizes.forEach((size, s) => {
    const y = box.top + s * 44 + 30;
    const most = Math.max(...ORGANS.map((organ) => one.by_size[organ.key][s][1]));
    shapes.push(shape("text", { x: box.left, y: y - 14 }, `${size} (up to ${counted(most, "slice")})`));
    shapes.push(shape("line", { class: "grid", x1: box.left, x2: box.right, y1: y, y2: y }));
    ORGANS.forEach((organ, i) => {
      const [dice, n] = one.by_size[organ.key][s];
      if (drawn.has(i) && dice !== null) shapes.push(mark(i, x(dice), y, 6, { fill: organColor(i),
        stroke: "var(--paper)" }, `${organ.name}: ${decimal(dice, 3)}, ${counted(n, "slice")}`));
    });
  });
  return { height: box.bottom + 42, shapes };
}

function placeTables(one) {
  const cell = ([dice, n]) => (dice === null ? "-" : `${decimal(dice, 3)} (${n})`);
  const parts = Array.from({ length: 10 }, (_, t) => `${t * 10} to ${t * 10 + 10} %`);
  const table = (caption, what, names, values) => organRowsOrColumns(caption, what, names,
    names.map((_, n) => ORGANS.map((organ) => cell(values[organ.key][n]))));
  return element("div", {},
    table("Mean Dice (slices) by place in the scan", "place", parts, one.tenths),
    table("Mean Dice (slices) by image, height x width, spacing", "image", one.sizes, one.by_size));
}

function showPlaces() {
  const host = section("places");
  const all = DATA.places || [];
  if (!all.length) return void (host.hidden = true);
  let one = all[0];
  const drawn = new Set(DATA.run.telling);
  const [left, right] = [element("figure"), element("figure")];
  const options = all.map(({ label }, i) => ({ key: String(i), name: label }));
  const select = choice(options, (key) => {
    one = all[Number(key)];
    redraws.forEach((redraw) => redraw());
    table.refresh();
  });
  const table = figuresBehind(() => placeTables(one));
  host.append(element("div", { class: "controls" }, labelled("candidate", select)),
    organLegend(drawn, () => redraws.forEach((redraw) => redraw())),
    element("div", { class: "pair" }, left, right), table.details);
  const redraws = [chart(left, "Mean Dice of each organ by tenth of the scan.",
    (width) => drawTenths(one, drawn, width))];
  if (one.sizes.length) {
    redraws.push(chart(right, "Mean Dice of each organ by size of the image.",
      (width) => drawSizes(one, drawn, width)));
  }
}
