"use strict";
// Two results side by side: what `moa compare` said of each pair, and the points of both.
document.addEventListener("DOMContentLoaded", () => {
  const form = document.getElementById("pair");
  if (!form) return;
  const { make, load } = moa;
  const out = document.getElementById("compared");
  const options = [...form.elements.a.options].map((each) => each.value);
  const objectives = (name) => form.elements[name].selectedOptions[0].dataset.objectives;
  const place = (name) => form.elements[name].selectedOptions[0].dataset.place;
  const label = (name) => form.elements[name].selectedOptions[0].textContent;

  const table = ([header, ...rows]) => {
    const body = make("tbody"), heading = make("tr"), head = make("thead");
    header.forEach((cell) => heading.append(make("th", cell, { scope: "col" })));
    head.append(heading);
    for (const row of rows) {
      const line = make("tr");
      row.forEach((cell) => line.append(make("td", cell, { className: /^-?\d/.test(cell) ? "number" : "" })));
      body.append(line);
    }
    const whole = make("table"), box = make("div", undefined, { className: "scroll", tabIndex: 0 });
    box.setAttribute("role", "region");
    box.setAttribute("aria-label", "Comparison");
    whole.append(head, body);
    box.append(whole);
    return box;
  };
  const said = async (a, b) => {
    const [first, second] = options.indexOf(a) < options.indexOf(b) ? [a, b] : [b, a];
    if (!moa.pairs[first]) await load(`compare/${first}.js`);
    const pair = moa.pairs[first][second];
    if (!pair) return [make("p", "This pair was not made beforehand; the command below compares it.")];
    if (pair.error) return [make("p", pair.error)];
    const parts = [make("p", pair.title, { className: "quiet" }), table(pair.rows)];
    if (pair.warnings.length) {
      const list = make("ul");
      pair.warnings.forEach((warning) => list.append(make("li", warning)));
      parts.push(make("h3", "Why the numbers may not mean what they seem to"), list);
    }
    return parts;
  };
  let asked = 0;
  const show = async () => {
    const mine = ++asked;
    for (const option of form.elements.b.options) option.disabled = option.dataset.objectives !== objectives("a");
    if (form.elements.b.selectedOptions[0].disabled || form.elements.b.value === form.elements.a.value) {
      const other = [...form.elements.b.options].find((each) => !each.disabled && each.value !== form.elements.a.value);
      if (other) form.elements.b.value = other.value;
    }
    const [a, b] = [form.elements.a.value, form.elements.b.value];
    history.replaceState(null, "", `#a=${encodeURIComponent(a)}&b=${encodeURIComponent(b)}`);
    document.getElementById("command").textContent = `moa compare ${place("a")} ${place("b")}`;
    const alone = a === b || objectives("a") !== objectives("b");
    const parts = alone ? [make("p", "No other result has the same objectives.")] : await said(a, b);
    for (const key of [a, b]) if (!moa.data[key]) await load(`data/${key}.js`);
    if (mine !== asked) return;
    out.replaceChildren(...parts);
    moa.front(document.getElementById("both"), [{ name: "", data: alone ? moa.data[a] : moa.both(moa.data[a], moa.data[b], label("a"), label("b")) }]);
  };
  const given = new URLSearchParams(location.hash.slice(1));
  for (const name of ["a", "b"]) if (options.includes(given.get(name))) form.elements[name].value = given.get(name);
  form.addEventListener("change", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  show();
});

// The fronts of two results in one: the second's methods have open symbols, its objectives are put in the first's order.
moa.both = (one, other, first, second) => {
  const order = one.objectives.map((name) => other.objectives.indexOf(name));
  const turned = (values) => values && order.map((i) => values[i]);
  const named = (methods, from, open) => methods.map((each) => ({ ...each, label: `${from}: ${each.label}`, symbol: open && !each.symbol.endsWith("-open") ? `${each.symbol}-open` : each.symbol }));
  const shift = one.methods.length;
  const spaces = {};
  for (const space of Object.keys(one.spaces)) {
    if (other.spaces[space]) {
      spaces[space] = [...one.spaces[space], ...other.spaces[space].map((row) =>
        [row[0] + shift, row[1], row[2], turned(row[3]), turned(row[4]), ...row.slice(5)])];
    }
  }
  const theirs = other.exact.map(([values, preference]) => [turned(values), turned(preference)]);
  const fronts = [[first, one.exact], [second, theirs]].filter(([, points]) => points.length);
  const text = (points) => points.map(String).sort().join(";");
  const same = fronts.length === 2 && text(one.exact) === text(theirs);
  const exacts = same ? [{ name: "exact front", points: one.exact }] : fronts.map(([from, points]) => ({ name: `${from}: exact front`, points }));
  return {
    objectives: one.objectives, methods: [...named(one.methods, first, false), ...named(other.methods, second, true)],
    spaces, exacts, left_out: one.left_out + other.left_out,
  };
};
