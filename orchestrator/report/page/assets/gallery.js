// Scans of the best candidate, slice by slice.

const MOST_ORGAN_WORDS = 8;

function sliceShapes(scan, place, layers) {
  const { sheet } = scan;
  const slice = scan.slices[place];
  const x = (place % sheet.columns) * sheet.tile_width;
  const y = Math.floor(place / sheet.columns) * sheet.tile_height;
  const image = shape("svg", { width: scan.width, height: scan.height, preserveAspectRatio: "none",
    viewBox: `${x} ${y} ${sheet.tile_width} ${sheet.tile_height}` },
  shape("image", { href: sheet.uri, width: sheet.width, height: sheet.height }));
  // Corners of outlines are centers of pixels.
  const drawn = (paths, kind) => shape("g", { transform: "translate(.5 .5)" },
    paths.map((d, i) => (d ? shape("path", { d, class: `${kind} organ-${i}` },
      shape("title", {}, ORGANS[i].name)) : null)));
  return [image, layers.predicted ? drawn(slice.predicted, "tint") : null,
    layers.truth ? drawn(slice.truth, "outline") : null];
}

function sliceWords(scan, place) {
  const slice = scan.slices[place];
  const scored = slice.dice.map((value, i) => [value, ORGANS[i].name]).filter(([value]) => known(value));
  const worst = scored.length > MOST_ORGAN_WORDS ? "worst first: " : "";
  if (worst) scored.sort((a, b) => a[0] - b[0]);
  const dice = scored.map(([value, name]) => `${name} ${decimal(value, 2)}`);
  const unknown = slice.unknown.map((i) => ORGANS[i].name);
  const rest = unknown.length ? `; not known and not scored: ${listed(unknown, 6)}` : "";
  return `${slice.id}: ${dice.length ? `Dice ${worst}${listed(dice, MOST_ORGAN_WORDS)}` : "nothing to score"}${rest}`;
}

function scanFigure(scan, layers) {
  const canvas = shape("svg", { role: "img", viewBox: `0 0 ${scan.width} ${scan.height}` });
  const words = element("figcaption", { "aria-live": "polite" });
  const slider = element("input", { type: "range", min: 0, max: scan.slices.length - 1, step: 1,
    value: scan.start, "aria-label": `slice of ${scan.scan}` });
  const redraw = () => {
    const place = Number(slider.value);
    const text = sliceWords(scan, place);
    canvas.setAttribute("aria-label", text);
    canvas.replaceChildren(...sliceShapes(scan, place, layers).filter(Boolean));
    slider.setAttribute("aria-valuetext", `slice ${scan.slices[place].number}`);
    words.textContent = text;
  };
  slider.addEventListener("input", redraw);
  redraw();
  const some = scan.slices.length < scan.n_slices
    ? `; ${scan.slices.length} of its ${counted(scan.n_slices, "slice")}` : "";
  const figure = element("figure", {}, element("h3", {}, `${scan.scan}: ${scan.kind}`),
    element("p", { class: "note" }, `${DATA.gallery.by} ${decimal(scan.score)}, ${scan.rank} of ${scan.of} from the `
      + `worst, held out in fold ${scan.fold}${some}.`), canvas, slider, words);
  return { figure, redraw };
}

function showGallery() {
  const host = section("gallery");
  const gallery = DATA.gallery;
  if (!gallery || !gallery.scans.length) {
    host.append(element("p", {}, "There is nothing to show yet: it needs a finished trial and the "
      + "data set it was made on."));
    return;
  }
  const layers = { truth: true, predicted: true };
  const scans = gallery.scans.map((scan) => scanFigure(scan, layers));
  const layer = (key, text) => tick(text, true, (checked) => {
    layers[key] = checked;
    scans.forEach((scan) => scan.redraw());
  });
  const drawn = (place) => gallery.scans.some((scan) => scan.slices.some((slice) =>
    slice.truth[place] || slice.predicted[place]));
  const key = ORGANS.map((organ, place) => (!drawn(place) ? null : element("span",
    { class: `key organ-${place}` },
    shape("svg", { class: "swatch", viewBox: "0 0 26 12", "aria-hidden": "true" },
      shape("rect", { x: 1, y: 1, width: 24, height: 10, class: "tint" }),
      shape("rect", { x: 1, y: 1, width: 24, height: 10, class: "outline" })), ` ${organ.name}`)));
  host.append(element("p", { class: "lead" }, `Out-of-fold predictions of ${gallery.label}. Lines `
    + "are the annotation, tinted areas the prediction: a line without tint was missed, tint "
    + "without a line was invented. Move the slider through the slices."),
  element("div", { class: "controls" }, layer("truth", "annotation (line)"),
    layer("predicted", "prediction (tint)"), key),
  element("div", { class: "scans" }, scans.map((scan) => scan.figure)));
}
