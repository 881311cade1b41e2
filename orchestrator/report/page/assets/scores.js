// Fold by fold, and score against cost.

const MOST_STRIPS = 20;
const STRIP_PX = 56;

function foldDots(row, scale, y) {
  return Array.from({ length: DATA.run.n_folds }, (_, fold) => {
    const value = row[`fold${fold}_score`];
    if (!known(value)) return null;
    const cy = y + (fold - (DATA.run.n_folds - 1) / 2) * Math.min(5, 20 / DATA.run.n_folds);
    const at = { cx: scale(value), cy, r: 8, fill: "var(--accent)", "fill-opacity": 0.85,
      stroke: "var(--paper)" };
    const hint = shape("title", {}, `fold ${fold}: ${decimal(value)}`);
    const number = { class: "inside", x: scale(value), y: cy + 3.5, "text-anchor": "middle",
      "aria-hidden": "true" };
    return shape("g", { class: "fold" }, shape("circle", at), shape("text", number, fold), hint);
  });
}

function drawStrips(rows, intervals, width) {
  const box = { left: 8, right: width - 12, top: 8, bottom: 8 + rows.length * STRIP_PX };
  const folds = rows.flatMap((row) => Object.keys(row).filter((k) => /^fold\d+_score$/.test(k))
    .map((k) => row[k]));
  const scale = linear(roomy(extent([...folds, ...Object.values(intervals).flat()])),
    [box.left + 8, box.right - 8]);
  const shapes = axes(box, { scale, name: "score of a fold (higher is better)" }, null);
  rows.forEach((row, i) => {
    const y = box.top + i * STRIP_PX + 34;
    const mean = scale(row.score);
    const label = `${row.rank}. ${row.candidate}`;
    shapes.push(shape("text", { x: box.left, y: y - 22 }, shortened(label, width - 110),
      shape("title", {}, label)));
    shapes.push(shape("text", { x: box.right, y: y - 22, "text-anchor": "end", class: "faint" },
      `${decimal(row.score)} ± ${decimal(row.score_sd)}`));
    const [low, high] = intervals[row.key] || [];
    if (known(low) && known(high)) {
      shapes.push(shape("rect", { x: scale(low), width: scale(high) - scale(low), y: y - 8,
        height: 16, fill: "var(--muted)", "fill-opacity": 0.3 },
      shape("title", {}, `95 % interval ${decimal(low)} to ${decimal(high)}`)));
    }
    shapes.push(shape("line", { x1: mean, x2: mean, y1: y - 18, y2: y + 18, stroke: "var(--ink)",
      "stroke-width": 3 }, shape("title", {}, `mean ${decimal(row.score)}`)));
    shapes.push(foldDots(row, scale, y));
  });
  return { height: box.bottom + 42, shapes };
}

function showStrips() {
  const rows = DATA.leaderboard.rows.slice(0, MOST_STRIPS);
  const host = section("strips");
  if (!rows.length) return void (host.hidden = true);
  const intervals = Object.fromEntries(Object.entries(judged()).map(([key, one]) =>
    [key, one.interval]));
  if (Object.values(intervals).flat().some(known)) {
    host.append(element("p", { class: "note" }, "The gray bar is the 95 % interval of the mean."));
  }
  const figure = element("figure");
  host.append(figure);
  chart(figure, "Score of every fold of the best candidates; the figures are in the leaderboard.",
    (width) => drawStrips(rows, intervals, width));
  const all = DATA.leaderboard.rows.length;
  if (all > rows.length) {
    host.append(element("p", { class: "note" }, `The best ${rows.length} of ${all} candidates.`));
  }
}

// Times that people read, where powers of ten would give 16 min 40 s.
const TIMES = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 28800, 57600,
  86400, 172800, 432000, 864000, 2592000];
const COST_TEXT = { cost_seconds: duration, parameters: count, peak_memory_bytes: bytes };

function drawCost(rows, cost, width) {
  const box = { left: 52, right: width - 30, top: 24, bottom: Math.min(340, width * 0.75) };
  const priced = rows.filter((row) => known(row[cost.key]) && row[cost.key] > 0);
  const [cheap, dear] = extent(priced.map((row) => row[cost.key]));
  const x = logarithmic([cheap / 1.15, dear * 1.15], [box.left + 6, box.right - 6]);
  const y = linear(roomy(extent(priced.map((row) => row.score)), 0.12), [box.bottom, box.top]);
  const most = Math.max(2, Math.floor((box.right - box.left) / 110));
  const times = TIMES.filter((time) => time >= cheap / 1.15 && time <= dear * 1.15);
  const ticks = cost.key === "cost_seconds" && times.length > 1
    ? times.filter((_, i) => i % Math.ceil(times.length / most) === 0) : x.ticks(most);
  const shapes = axes(box, { scale: x, name: `${cost.name}, logarithmic`, format: COST_TEXT[cost.key],
    ticks },
  { scale: y, name: "mean score" });
  const front = priced.filter((row) => cost.front.includes(row.rank))
    .sort((a, b) => a[cost.key] - b[cost.key]);
  let d = "";
  front.forEach((row, i) => {
    const [px, py] = [x(row[cost.key]), y(row.score)];
    d += i ? `H${px.toFixed(1)}V${py.toFixed(1)}` : `M${px.toFixed(1)} ${py.toFixed(1)}`;
  });
  shapes.push(shape("path", { class: "front", d, fill: "none", stroke: "var(--series-5)",
    "stroke-width": 2 }));
  for (const row of [...priced].reverse()) {
    const best = front.includes(row);
    const [px, py] = [x(row[cost.key]), y(row.score)];
    const hint = `${row.candidate}: ${decimal(row.score)}, ${COST_TEXT[cost.key](row[cost.key])}`;
    shapes.push(shape("circle", { cx: px, cy: py, r: best ? 9 : 7, stroke: "var(--paper)",
      fill: best ? "var(--series-5)" : "var(--muted)" }, shape("title", {}, hint)));
    if (row.rank <= MOST_STRIPS) {
      shapes.push(shape("text", { class: "inside", x: px, y: py + 3.5, "text-anchor": "middle",
        "aria-hidden": "true" }, row.rank));
    }
  }
  return { height: box.bottom + 44, shapes };
}

function showCost() {
  const rows = DATA.leaderboard.rows;
  const host = section("cost");
  if (!rows.some((row) => known(row.parameters))) return void (host.hidden = true);
  let cost = DATA.cost[0];
  const words = element("p");
  const figure = element("figure");
  const tell = () => {
    const front = rows.filter((row) => cost.front.includes(row.rank));
    const names = front.sort((a, b) => a[cost.key] - b[cost.key]).map((row) => row.candidate);
    words.textContent = `Nobody beats, from cheap to dear: ${names.join(" · ")}. `
      + "Numbers are ranks.";
  };
  const select = choice(DATA.cost, (key) => {
    cost = DATA.cost.find((one) => one.key === key);
    tell();
    redraw();
    table.refresh();
  });
  host.append(element("div", { class: "controls" }, labelled("cost", select)), figure, words);
  const redraw = chart(figure, "Mean score against cost, one dot a candidate.",
    (width) => drawCost(rows, cost, width));
  const table = figuresBehind(() => plainTable("Score and cost", ["candidate", "score", "cost",
    "parameters", "memory", "on the line"], rows.map((row) => [row.candidate, decimal(row.score),
    duration(row.cost_seconds), count(row.parameters), bytes(row.peak_memory_bytes),
    cost.front.includes(row.rank) ? "yes" : "no"])));
  host.append(table.details);
  tell();
}
