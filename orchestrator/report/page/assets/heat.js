// Tinted tables: organs, cases, pairs.

const MOST_HEAT_ROWS = 20;

function organSwatch(place) {
  return shape("svg", { class: "swatch inline", viewBox: "0 0 26 12", "aria-hidden": "true" },
    shape("rect", { x: 7, y: 0, width: 12, height: 12, fill: organColor(place) }));
}

// One column an organ, or one row where that would be too many columns; those are then ranks.
function organTable(rows, metric, caption) {
  const value = (row, organ) => row[`${organ.key}_${metric}`];
  const text = (figure) => decimal(figure, 3);
  if (ORGANS.length <= MOST_ORGAN_COLUMNS) {
    return heatTable({ caption, corner: "candidate", columns: ORGANS.map((organ) => organ.name),
      rows: rows.map((row) => row.candidate), text,
      values: rows.map((row) => ORGANS.map((organ) => value(row, organ))) });
  }
  return heatTable({ caption: `${caption}; columns are ranks of the leaderboard`, corner: "organ",
    columns: rows.map((row) => String(row.rank)), text,
    rows: ORGANS.map((organ, place) => [organSwatch(place), organ.name]),
    values: ORGANS.map((organ) => rows.map((row) => value(row, organ))) });
}

function showOrgans() {
  const rows = DATA.leaderboard.rows.slice(0, MOST_HEAT_ROWS);
  const host = section("organs");
  if (!rows.length) return void (host.hidden = true);
  host.append(element("div", { class: "pair" },
    ...DATA.leaderboard.parts.map(({ key, name }) => element("div", {}, organTable(rows, key, name)))));
}

function showCases() {
  const { cases, folds, labels, score, dice, measure } = DATA.cases || { labels: [] };
  const host = section("cases");
  if (!labels.length) return void (host.hidden = true);
  const measures = [{ key: "score", name: "score", values: score },
    ...ORGANS.map((organ, place) => ({ key: String(place), name: `${measure} of ${organ.name}`,
      values: dice[place] }))];
  const figure = element("figure");
  const show = (key) => {
    const { name, values } = measures.find((one) => one.key === key);
    figure.replaceChildren(heatTable({
      caption: `${name[0].toUpperCase()}${name.slice(1)} of each case, out of fold`,
      corner: "candidate; case and its fold",
      columns: cases.map((one, i) => [one, element("br"), `fold ${folds[i]}`]),
      rows: labels,
      values,
      text: (value) => decimal(value, 2),
    }));
  };
  host.append(element("div", { class: "controls" }, labelled("measure", choice(measures, show))),
    figure);
  show("score");
}

function pairWords(pairs) {
  const { labels, best, gain, correlation, single, cases } = pairs;
  if (!best) return "No case is known for all candidates.";
  const [a, b] = best;
  const r = correlation[a][b];
  if (gain[a][b] < 0.00005) {
    return `No pair promises more than the best single candidate, ${labels[single]}: on each of `
      + `${counted(cases, "case")} no other is better by a figure that shows.`;
  }
  return `Try ${labels[a]} together with ${labels[b]}: taking the better of the two on each of `
    + `${counted(cases, "case")} would add ${signed(gain[a][b])} to the mean of the best single candidate, `
    + `${labels[single]}. `
    + (known(r) ? `Their scores rise and fall together with correlation ${decimal(r, 2)}. ` : "")
    + "Nobody can choose so well beforehand, so this is a promise and no result: "
    + "gitract-cv ensemble measures what averaging gives.";
}

function showPairs() {
  const host = section("pairs");
  const pairs = DATA.pairs;
  if (!pairs) return void (host.hidden = true);
  const limit = (table) => Math.max(1e-9, ...table.flat().filter(known).map(Math.abs));
  const names = pairs.labels.map((_, i) => String(i + 1));
  const table = (values, caption, text, most) => heatTable({
    caption, corner: "candidate", columns: names, text, values,
    rows: pairs.labels.map((label, i) => `${i + 1}. ${label}`),
    stops: ORANGE_TO_BLUE, domain: [-most, most],
  });
  host.append(element("p", {}, pairWords(pairs)), element("div", { class: "pair" },
    element("div", {}, table(pairs.gain, "Gain of the better of two on each case (blue: more than "
      + "the best alone)", (value) => signed(value), limit(pairs.gain))),
    element("div", {}, table(pairs.correlation, "Correlation of their scores over cases (blue: fail "
      + "on the same cases)", (value) => signed(value, 2), 1))));
}
