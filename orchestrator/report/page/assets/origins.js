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
  const header = [...audit.counts, ...audit.shares].map((column) => column.name);
  const rows = audit.folds.map((fold) => [
    ...audit.counts.map(({ key }) => String(fold[key] ?? "-")),
    ...audit.shares.map(({ key }) => (known(fold[key]) ? `${(100 * fold[key]).toFixed(1)} %` : "-")),
  ]);
  host.append(element("p", {}, verdict), plainTable("Cases, scans, slices and shares of slices",
    header, rows));
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
