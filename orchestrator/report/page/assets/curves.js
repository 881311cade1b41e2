// Learning curves.

// TensorBoard's smoothing: an exponential moving average without the bias of its start.
function smoothed(values, weight) {
  if (values.every((value) => value === values[0])) return values.slice();
  let last = 0;
  let n = 0;
  return values.map((value) => {
    if (!known(value)) return value;
    n += 1;
    last = weight * last + (1 - weight) * value;
    return last / (1 - weight ** n);
  });
}

// Mean over folds at the epochs that all of them reached.
function meanCurve(folds, metric) {
  const length = Math.min(...folds.map((fold) => fold.epochs.length));
  const values = Array.from({ length }, (_, i) =>
    folds.reduce((sum, fold) => sum + fold.values[metric][i], 0) / folds.length);
  return { epochs: folds[0].epochs.slice(0, length), values };
}

function curveLine(points, attributes) {
  return shape("path", { d: path(points), fill: "none", "stroke-linejoin": "round", ...attributes });
}

function candidateCurves(one, state, x, y) {
  const look = { stroke: seriesColor(one.place), "stroke-dasharray": seriesDash(one.place) };
  const points = (epochs, values) => epochs.map((epoch, i) => [x(epoch), y(values[i])]);
  const mean = meanCurve(one.folds, state.metric);
  const smooth = smoothed(mean.values, state.smoothing);
  const end = mean.epochs.length - 1;
  const folds = state.folds ? one.folds.map((fold) =>
    curveLine(points(fold.epochs, smoothed(fold.values[state.metric], state.smoothing)),
      { class: "thin", ...look, "stroke-width": 1, "stroke-opacity": 0.55 })) : [];
  return [
    ...folds,
    curveLine(points(mean.epochs, mean.values),
      { class: "raw", ...look, "stroke-width": 2, "stroke-opacity": 0.3 }),
    curveLine(points(mean.epochs, smooth), { class: "mean", ...look, "stroke-width": 3 }),
    { at: [x(mean.epochs[end]) + 6, y(smooth[end]) + 4], name: String(one.place + 1) },
  ];
}

// Names at the ends of lines, from top to bottom, pushed apart where they would overlap.
function endNames(ends) {
  let least = -Infinity;
  return ends.filter(({ at }) => known(at[1])).sort((a, b) => a.at[1] - b.at[1]).map(({ at, name }) => {
    least = Math.max(at[1], least + 12);
    return shape("text", { x: at[0], y: least }, name);
  });
}

function drawCurves(candidates, state, width) {
  const box = { left: 52, right: width - 26, top: 24, bottom: Math.min(400, width * 0.8) };
  const shown = candidates.filter((one) => state.shown.has(one.place));
  const curves = shown.flatMap((one) => [meanCurve(one.folds, state.metric).values,
    ...(state.folds ? one.folds.map((fold) => fold.values[state.metric]) : [])]);
  const epochs = shown.flatMap((one) => one.folds.flatMap((fold) => fold.epochs));
  const [first, last] = extent(epochs);
  const x = linear([first, Math.max(last, first + 1)], [box.left + 4, box.right]);
  const y = linear(roomy(extent(curves.flat())), [box.bottom, box.top]);
  const name = DATA.curves.metrics.find((metric) => metric.key === state.metric).name;
  const ticks = x.ticks(Math.floor(width / 80)).filter(Number.isInteger);
  const shapes = axes(box, { scale: x, name: "epoch", ticks }, { scale: y, name });
  const drawn = shown.flatMap((one) => candidateCurves(one, state, x, y));
  const isEnd = (part) => part.at !== undefined;
  return { height: box.bottom + 44, shapes: [shapes, drawn.filter((part) => !isEnd(part)),
    endNames(drawn.filter(isEnd))] };
}

function curveTable(candidates, state) {
  const rows = candidates.map((one) => {
    const { epochs, values } = meanCurve(one.folds, state.metric);
    const text = (value) => (known(value) ? Number(value.toPrecision(4)).toString() : "-");
    const finite = values.filter(known);
    return [one.label, String(epochs.length), text(values[0]), text(Math.min(...finite)),
      text(Math.max(...finite)), text(values[values.length - 1])];
  });
  return plainTable("Mean over folds, not smoothed",
    ["candidate", "epochs shown", "first", "lowest", "highest", "last"], rows);
}

function showCurves() {
  const host = section("curves");
  const candidates = DATA.curves ? DATA.curves.candidates : [];
  if (!candidates.length) {
    host.append(element("p", {}, "No training has left a history yet."));
    return;
  }
  const state = { metric: "loss", smoothing: 0.6, folds: true,
    shown: new Set(candidates.slice(0, 3).map((one) => one.place)) };
  const figure = element("figure");
  const table = figuresBehind(() => curveTable(candidates, state));
  const update = () => {
    redraw();
    table.refresh();
  };
  const select = choice(DATA.curves.metrics, (key) => {
    state.metric = key;
    update();
  });
  const output = element("output", {}, "0.60");
  const slider = element("input", { type: "range", min: 0, max: 0.99, step: 0.01, value: 0.6,
    id: "smoothing" });
  slider.addEventListener("input", () => {
    state.smoothing = Number(slider.value);
    output.textContent = state.smoothing.toFixed(2);
    redraw();
  });
  const folds = tick("folds", true, (checked) => {
    state.folds = checked;
    redraw();
  });
  const boxes = candidates.map((one) => tick(`${one.place + 1}. ${one.label}`,
    state.shown.has(one.place), (checked) => {
      state.shown[checked ? "add" : "delete"](one.place);
      redraw();
    }, swatch(seriesColor(one.place), seriesDash(one.place))));
  host.append(element("div", { class: "controls" }, labelled("metric", select),
    labelled("smoothing", slider, output), folds),
  element("fieldset", {}, element("legend", {}, "candidates"), boxes), figure, table.details);
  const redraw = chart(figure, "Learning curves of the chosen candidates, epoch by epoch.",
    (width) => drawCurves(candidates, state, width));
}
