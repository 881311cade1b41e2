// Tinted tables: organs, cases, pairs.

const MOST_HEAT_ROWS = 20;

function showOrgans() {
  const rows = DATA.leaderboard.rows.slice(0, MOST_HEAT_ROWS);
  const host = section("organs");
  if (!rows.length) return void (host.hidden = true);
  const table = (metric, caption) => heatTable({
    caption,
    corner: "candidate",
    columns: ORGANS.map((organ) => organ.name),
    rows: rows.map((row) => row.candidate),
    values: rows.map((row) => ORGANS.map((organ) => row[`${organ.key}_${metric}`])),
    text: (value) => decimal(value, 3),
  });
  host.append(element("div", { class: "pair" },
    element("div", {}, table("dice", "Dice, mean over folds")),
    element("div", {}, table("hausdorff", "Hausdorff score, mean over folds"))));
}

function showCases() {
  const { cases, folds, labels, values } = DATA.cases || { labels: [] };
  const host = section("cases");
  if (!labels.length) return void (host.hidden = true);
  const measures = [{ key: "score", name: "score" },
    ...ORGANS.map((organ) => ({ key: organ.key, name: `Dice of ${organ.name}` }))];
  const figure = element("figure");
  const show = (key) => {
    const { name } = measures.find((one) => one.key === key);
    figure.replaceChildren(heatTable({
      caption: `${name[0].toUpperCase()}${name.slice(1)} of each case, out of fold`,
      corner: "candidate; case and its fold",
      columns: cases.map((one, i) => [one, element("br"), `fold ${folds[i]}`]),
      rows: labels,
      values: values[key],
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
      + `${cases} cases no other is better by a figure that shows.`;
  }
  return `Try ${labels[a]} together with ${labels[b]}: taking the better of the two on each of `
    + `${cases} cases would add ${signed(gain[a][b])} to the mean of the best single candidate, `
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
