// Folds, environment, and what could not be shown.

function showFolds() {
  const host = section("folds");
  const audit = DATA.folds;
  if (!audit || !audit.folds.length) {
    host.append(element("p", {}, "folds.json holds no audit."));
    return;
  }
  const leaks = audit.leaks || [];
  const verdict = leaks.length ? `Cases in two folds, which spoils every score: ${leaks.join(", ")}.`
    : "No case is in two folds. Folds should be alike in size and in what their slices hold.";
  const columns = [...audit.counts, ...audit.shares];
  const percent = (share) => (known(share) ? `${(100 * share).toFixed(1)} %` : "-");
  const rows = audit.folds.map((fold) => [
    ...audit.counts.map(({ key }) => String(fold[key] ?? "-")),
    ...audit.shares.map(({ key }) => percent(fold[key])),
  ]);
  const names = columns.map((column) => column.name);
  const turned = names.slice(1).map((name, c) => [name, ...rows.map((row) => row[c + 1])]);
  const caption = "Cases, scans, slices and shares of slices";
  host.append(element("p", {}, verdict), ORGANS.length <= MOST_ORGAN_COLUMNS
    ? plainTable(caption, names, rows)
    : plainTable(caption, ["", ...rows.map((row) => `fold ${row[0]}`)], turned));
  if (DATA.run.known) host.append(element("p", { class: "note" }, `${DATA.run.known}.`));
  for (const note of DATA.run.notes) host.append(element("p", { class: "note" }, `${note}.`));
}

function facts(pairs) {
  return element("dl", {}, pairs.flatMap(([name, values]) => [element("dt", {}, name),
    ...[values].flat().map((value) => element("dd", {}, value))]));
}

function showOrigins() {
  const host = section("origins");
  const origins = DATA.origins;
  if (!origins) return void (host.hidden = true);
  const list = element("dl");
  for (const [name, values] of origins.facts) {
    list.append(element("dt", {}, name), element("dd", {}, values.map((value, i) =>
      [i ? element("br") : null, value])));
  }
  host.append(list, element("details", {},
    element("summary", {}, `${origins.shared.length} settings that all candidates share`),
    facts(origins.shared)));
  if (DATA.left_out.length) {
    host.append(element("h3", {}, "Not shown"), element("ul", {},
      DATA.left_out.map((line) => element("li", {}, line))));
  }
}
