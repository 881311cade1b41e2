// Knob by knob: what each value of each knob is worth, and what it costs.

// A row is named by its knob and its level, also where the knob stands on the first row alone.
function knobRows({ header, rows }) {
  if (header[0] !== "knob") return [header, rows];
  let knob = "";
  const named = rows.map(([name, level, ...values]) => {
    knob = name && name !== "-" ? name : knob;
    return [`${knob}: ${level}`, ...values];
  });
  return [["knob: level", ...header.slice(2)], named];
}

function showKnobs() {
  const knobs = DATA.statistics ? DATA.statistics.knobs : null;
  if (!knobs) return;
  const host = section("knobs");
  host.hidden = false;
  for (const table of knobs.tables) {
    const [header, rows] = knobRows(table);
    host.append(plainTable(table.title, header, rows));
    host.append(...table.notes.map((text) => element("p", { class: "note" }, text)));
  }
}
