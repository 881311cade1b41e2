// The leaderboard, sorted by any header.

// Missing values last, whichever way; equal ones keep the ranking's order.
function sortedRows(rows, key, descending) {
  const missing = (row) => row[key] === null || row[key] === undefined;
  const compare = (a, b) => {
    if (missing(a) || missing(b)) return missing(a) - missing(b);
    const order = typeof a[key] === "string"
      ? a[key].localeCompare(b[key], "en", { numeric: true }) : a[key] - b[key];
    return descending ? -order : order;
  };
  return rows.map((row, i) => [row, i])
    .sort((a, b) => compare(a[0], b[0]) || a[1] - b[1]).map(([row]) => row);
}

function boardRow(columns, row) {
  return element("tr", {}, columns.map(({ key, kind }) => {
    const text = WRITTEN[kind](row[key]);
    return key === "candidate" ? element("th", { scope: "row" }, text) : element("td", {}, text);
  }));
}

function boardTable({ columns, rows }) {
  const body = element("tbody");
  const status = element("p", { class: "note", role: "status" });
  const heads = columns.map((column) => {
    const head = element("th", { scope: "col", title: column.hint,
      class: column.key === "candidate" ? "name" : null });
    head.append(element("button", { type: "button", onclick: () => sort(column, head) }, column.name));
    return head;
  });
  const show = (ordered) => body.replaceChildren(...ordered.map((row) => boardRow(columns, row)));
  const sort = (column, head) => {
    const before = head.getAttribute("aria-sort");
    const rising = ["rank", "text", "seconds", "count", "bytes", "epoch"].includes(column.kind)
      || column.key === "score_sd";
    const descending = before ? before === "ascending" : !rising;
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", descending ? "descending" : "ascending");
    status.textContent = `Sorted by ${column.name}, ${descending ? "largest" : "smallest"} first.`;
    show(sortedRows(rows, column.key, descending));
  };
  heads[0].setAttribute("aria-sort", "ascending");
  show(rows);
  const table = element("table", { class: "board" },
    element("thead", {}, element("tr", {}, heads)), body);
  return [wide("Leaderboard", table), status];
}

function showLeaderboard() {
  const board = DATA.leaderboard;
  const host = section("leaderboard");
  if (board.rows.length) host.append(...boardTable(board));
  else host.append(element("p", {}, "No candidate has all its folds yet, so none is ranked."));
  host.append(element("p", { class: "note" }, `Scores are ${board.score}. The paper's figures `
    + "follow its likely definitions, at the best epoch."));
  if (DATA.run.telling.length < ORGANS.length) {
    host.append(element("p", { class: "note" }, `Of ${ORGANS.length} organs those are shown here `
      + "that the first candidate finds worst and best; the tables organ by organ have all."));
  }
  if (board.unranked.length) {
    const rows = board.unranked.map((c) => [c.candidate, c.folds, c.reason || "no score"]);
    const table = plainTable("Not ranked: folds are missing, and a mean over the others would "
      + "flatter or harm", ["candidate", "folds", "why"], rows);
    table.querySelectorAll("td:last-child, thead th:last-child").forEach((c) => c.classList.add("name"));
    host.append(table);
  }
  if (board.left_out) {
    host.append(element("p", { class: "note" }, `${counted(board.left_out, "more candidate")} not shown; `
      + "gitract-cv report --csv writes all."));
  }
}
