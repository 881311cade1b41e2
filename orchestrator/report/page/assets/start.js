// The head of the page, then every section.

function showSummary() {
  const { run, leaderboard } = DATA;
  const best = leaderboard.rows[0];
  const first = best ? `Best: ${best.candidate}, score ${decimal(best.score)} ± `
    + `${decimal(best.score_sd)} over ${run.n_folds} folds. ` : "";
  const nothing = run.nothing ? `${run.nothing} ` : "";
  section("summary").textContent = `${nothing}${first}${run.ranked} of ${counted(run.candidates, "candidate")} ranked; `
    + `${run.finished} of ${counted(run.trials, "trial")} finished, ${duration(run.seconds)} of training.`
    + (run.known ? " A part of the annotation is not known and not scored; see folds." : "");
}

function showVerdict() {
  const words = DATA.statistics ? DATA.statistics.words : [];
  if (!words.length) return;
  const host = section("verdict");
  host.hidden = false;
  host.append(...words.map((text) => element("p", {}, text)));
  const rows = DATA.leaderboard.rows.slice(0, MOST_STRIPS);
  const range = ([low, high]) => (known(low) ? `${decimal(low)} to ${decimal(high)}` : "-");
  host.append(plainTable("Score with its 95 % interval, and what can be told from the first",
    ["candidate", "score", "95 % interval", "chance to be the best", "behind the first",
      "95 % interval of that, all at once", "told from the first",
      `no worse than the best by more than ${DATA.statistics.margin}`],
    rows.filter((row) => judged()[row.key]).map((row) => {
      const one = judged()[row.key];
      const chance = known(one.probability_first) ? `${(100 * one.probability_first).toFixed(0)} %` : "-";
      const verdict = (one.tied ? "no" : "yes") + (one.cheapest ? " (the cheapest of these)" : "");
      const name = `${row.rank}. ${row.candidate}${one.unsteady ? " (unsteady)" : ""}`;
      return [name, decimal(row.score), range(one.interval), chance,
        ...(row.rank === 1 ? ["-", "-", "itself"] : [decimal(one.behind), range(one.behind_interval), verdict]), one.no_worse];
    })));
}

function showEnsembles() {
  if (!DATA.ensembles || !DATA.ensembles.length) return;
  const host = section("ensembles");
  host.hidden = false;
  const range = ([low, high]) => (known(low) ? `${decimal(low)} to ${decimal(high)}` : "-");
  host.append(plainTable("Ensembles of this run",
    ["ensemble", "announced", "95 % interval", "in sample", "one candidate, chosen alike", "gain",
      "95 % interval"],
    DATA.ensembles.map((one) => [one.name, decimal(one.score), range(one.interval),
      decimal(one.in_sample), decimal(one.single), decimal(one.gain), range(one.gain_interval)])));
}

function showContents() {
  const links = [...document.querySelectorAll("main > section:not([hidden])")].map((part) =>
    element("a", { href: `#${part.id}` }, part.querySelector("h2").textContent));
  section("contents").append(...links);
}

for (const show of [showSummary, showVerdict, showLeaderboard, showStrips, showKnobs, showCost, showCurves,
  showOrgans, showCases, showPairs, showEnsembles, showPlaces, showGallery, showFolds, showOrigins, showContents]) {
  show();
}
