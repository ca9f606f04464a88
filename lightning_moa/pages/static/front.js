"use strict";
// The plot of a front: which methods, seeds and objectives, in the plane, in space or side by side.
moa.front = (element, parts) => {
  const { make, look } = moa;
  const [METHOD, SEED, POLICY, PREFERENCE, VALUES, KL, REGRET, STEP] = Array(8).keys();
  const WORDS = { gold: "gold reward", judge: "the held-out model's reward", reward: "the reward models' reward", accuracy: "implicit accuracy" };
  const VIEWS = { plane: "two objectives", space: "three, to turn", lines: "all, side by side" };
  const SPACE = ["circle", "square", "diamond", "cross", "x"];
  const state = { part: 0 };
  const data = () => parts[state.part].data;
  const controls = make("div", undefined, { className: "controls" });
  const plot = make("div", undefined, { className: "plot" });
  plot.setAttribute("role", "group");
  plot.setAttribute("aria-label", "Plot of the points; the table below has them as text");
  const said = make("p", "", { className: "quiet shown" });
  said.setAttribute("role", "status");
  const turn = make("p", undefined, { className: "turn", hidden: true });
  const details = make("details");
  const rows = make("div", undefined, { className: "scroll", tabIndex: 0 });
  rows.setAttribute("role", "region");
  rows.setAttribute("aria-label", "The points shown");
  details.append(make("summary", "The points shown, as a table"), rows);
  element.replaceChildren(controls, plot, turn, said, details);

  // --- what is chosen
  const begin = () => {
    state.space = Object.keys(data().spaces)[0];
    state.methods = new Set(data().methods.keys());
    state.seeds = new Set(seeds());
    state.view = "plane";
    state.axes = [0, 1, 2].map((i) => `value ${i}`);
    state.means = seeds().length > 1;
    state.exact = true;
    if (data().objectives.length === 1) state.axes[1] = "kl";
  };
  const all = () => data().spaces[state.space] || [];
  const seeds = () => [...new Set(Object.values(data().spaces).flat().map((row) => row[SEED]))].sort((a, b) => a - b);
  const shown = () => all().filter((row) => state.methods.has(row[METHOD]) && state.seeds.has(row[SEED]));
  const axes = () => {
    const names = data().objectives;
    const found = names.map((name, i) => [`value ${i}`, name, (row) => row[VALUES][i]]);
    if (all().some((row) => row[KL] !== null)) found.push(["kl", "KL from the reference, nats", (row) => row[KL]]);
    if (all().some((row) => row[REGRET] !== null)) found.push(["regret", "regret", (row) => row[REGRET]]);
    if (all().some((row) => row[PREFERENCE])) names.forEach((name, i) => found.push([`weight ${i}`, `weight of ${name}`, (row) => row[PREFERENCE] && row[PREFERENCE][i]]));
    return found;
  };
  const axis = (i) => axes().find(([key]) => key === state.axes[i]) || axes()[Math.min(i, axes().length - 1)];

  // --- controls
  const group = (name, ...inside) => {
    const field = make("fieldset");
    field.append(make("legend", name), ...inside);
    controls.append(field);
  };
  const select = (name, pairs, value, chosen) => {
    const label = make("label", `${name} `), box = make("select");
    for (const [key, text] of pairs) box.append(make("option", text, { value: key, selected: String(key) === String(value) }));
    box.addEventListener("change", () => chosen(box.value));
    label.append(box);
    return label;
  };
  const check = (text, checked, chosen, colour) => {
    const label = make("label"), box = make("input", undefined, { type: "checkbox", checked });
    box.addEventListener("change", () => { chosen(box.checked); draw(); });
    label.append(box);
    if (colour) { const swatch = make("span", "", { className: "swatch" }); swatch.style.background = colour; label.append(swatch); }
    label.append(make("span", text));
    return label;
  };
  const toggle = (set, value) => (on) => { if (on) set.add(value); else set.delete(value); };
  const again = () => { fill(); draw(); };
  const fill = () => {
    // The control that was used is there again, and keeps the focus.
    const at = [...controls.querySelectorAll("input, select, button")].indexOf(document.activeElement);
    controls.replaceChildren();
    const m = data().objectives.length, spaces = Object.keys(data().spaces);
    const choices = [];
    if (parts.length > 1) choices.push(select("part", parts.map(({ name }, i) => [i, name]), state.part, (value) => { state.part = Number(value); begin(); again(); }));
    if (spaces.length > 1) choices.push(select("values", spaces.map((each) => [each, WORDS[each]]), state.space, (value) => { state.space = value; again(); }));
    if (m > 2) choices.push(select("view", Object.entries(VIEWS), state.view, (value) => { state.view = value; again(); }));
    const pairs = axes().map(([key, name]) => [key, name]);
    if (state.view !== "lines") {
      (state.view === "space" ? ["across", "deep", "up"] : ["across", "up"]).forEach((name, i) =>
        choices.push(select(name, pairs, axis(i)[0], (value) => { state.axes[i] = value; draw(); })));
    }
    group("Axes", ...choices);
    group("Methods", ...data().methods.map((method, i) => check(method.label, state.methods.has(i), toggle(state.methods, i), look.tone(method.colour))),
      ...(exacts().length && state.view !== "lines" ? [check(exactNames(), state.exact, (on) => { state.exact = on; }, look.colour("ink"))] : []));
    group("Seeds", ...seeds().map((seed) => check(String(seed), state.seeds.has(seed), toggle(state.seeds, seed))),
      ...(seeds().length > 1 && state.view !== "lines" ? [check("with their means", state.means, (on) => { state.means = on; })] : []));
    if (at >= 0) controls.querySelectorAll("input, select, button")[at]?.focus();
  };

  // --- texts
  const counted = (n, one, more) => `${n} ${n === 1 ? one : more}`;
  const list = (values) => data().objectives.map((name, i) => `${name} ${look.number(values[i])}`).join(", ");
  const hover = (row, mean) => [
    `<b>${look.text(data().methods[row[METHOD]].label)}</b>, ${mean ? `mean of ${mean} seeds` : `seed ${row[SEED]}`}`,
    row[PREFERENCE] ? look.text(`preference: ${list(row[PREFERENCE])}`) : look.text(`policy: ${row[POLICY] || "knows no preference"}`),
    look.text(`${WORDS[state.space]}: ${list(row[VALUES])}`),
    `KL ${look.number(row[KL])}${row[KL] === null ? "" : " nats"}; regret ${look.number(row[REGRET])}`,
  ].join("<br>");

  // --- traces
  const mean = (values) => values.some((value) => value === null) ? null : values.reduce((a, b) => a + b, 0) / values.length;
  const means = (mine) => {
    const places = Map.groupBy ? Map.groupBy(mine, (row) => `${row[POLICY]} ${row[PREFERENCE]}`) : mine.reduce((found, row) => {
      const key = `${row[POLICY]} ${row[PREFERENCE]}`;
      return found.set(key, [...(found.get(key) || []), row]);
    }, new Map());
    return [...places.values()].map((same) => ({ count: same.length, row: [
      same[0][METHOD], null, same[0][POLICY], same[0][PREFERENCE],
      same[0][VALUES].map((_, i) => mean(same.map((row) => row[VALUES][i]))),
      mean(same.map((row) => row[KL])), mean(same.map((row) => row[REGRET])), same[0][STEP],
    ] }));
  };
  const along = (mine) => data().objectives.length === 2 && mine.every(({ row }) => row[PREFERENCE]);
  const trace = (method, mine, bold) => {
    const flat = state.view === "plane", joined = flat && mine.length > 1 && along(mine);
    if (joined) mine = [...mine].sort((a, b) => a.row[PREFERENCE][0] - b.row[PREFERENCE][0]);
    const colour = look.tone(method.colour);
    const symbol = flat ? method.symbol : SPACE.find((each) => method.symbol.startsWith(each)) || "circle";
    const found = {
      type: flat ? "scatter" : "scatter3d", name: method.label, mode: joined ? "lines+markers" : "markers",
      text: mine.map(({ row, count }) => hover(row, count)), hovertemplate: "%{text}<extra></extra>",
      opacity: bold ? 1 : 0.45, line: { color: colour, width: bold ? 2.5 : 1 },
      marker: { color: colour, symbol, size: (bold ? 10 : 6) / (flat ? 1 : 2), line: { color: symbol.endsWith("open") ? colour : look.colour("paper"), width: symbol.endsWith("open") ? 2 : bold ? 1 : 0 } },
    };
    ["x", "y", "z"].slice(0, flat ? 2 : 3).forEach((name, i) => { found[name] = mine.map(({ row }) => axis(i)[2](row)); });
    return found;
  };
  // Of one result its exact front; of two those that they have, each named and drawn in its own way.
  const exacts = () => data().exacts || (data().exact.length ? [{ name: "exact front", points: data().exact }] : []);
  const exactNames = () => {
    const looks = data().objectives.length === 2 ? ["solid", "dashed"] : ["filled", "open"];
    return exacts().map(({ name }, i, { length }) => length > 1 ? `${name} (${looks[i]})` : name).join(", ");
  };
  const exact = () => {
    const chosen = [0, 1, 2].slice(0, state.view === "plane" ? 2 : 3).map((i) => axis(i)[0].split(" "));
    if (!state.exact || state.space !== "gold" || chosen.some(([kind]) => kind !== "value")) return [];
    return exacts().map((front, i) => exactTrace(front, i, chosen));
  };
  const exactTrace = (front, number, chosen) => {
    const flat = state.view === "plane", lines = data().objectives.length === 2;
    const points = lines ? [...front.points].sort((a, b) => a[1][0] - b[1][0]) : front.points;
    const found = {
      type: flat ? "scatter" : "scatter3d", mode: lines ? "lines" : "markers", name: front.name, line: { color: look.colour("ink"), width: 3, dash: number ? "dash" : "solid" },
      marker: { color: look.colour("quiet"), symbol: number ? "circle-open" : "circle", size: flat ? 5 : 2.5 }, hovertemplate: "%{text}<extra></extra>",
      text: points.map(([values, preference]) => `<b>${look.text(front.name)}</b><br>${preference[0] === null ? "" : look.text(`preference: ${list(preference)}`)}<br>${look.text(`gold reward: ${list(values)}`)}<br>regret 0`),
    };
    ["x", "y", "z"].slice(0, chosen.length).forEach((name, i) => { found[name] = points.map(([values]) => values[Number(chosen[i][1])]); });
    return found;
  };
  const points = (mine) => {
    const found = [];
    data().methods.forEach((method, i) => {
      const own = mine.filter((row) => row[METHOD] === i), kinds = [...new Set(own.map((row) => row[SEED]))];
      // Policies that know no preference don't correspond between seeds: of several there is no mean.
      const alike = own.every((row) => row[PREFERENCE]) || own.length === kinds.length;
      const bold = !state.means || kinds.length < 2 || !alike;
      for (const seed of kinds) found.push(trace(method, own.filter((row) => row[SEED] === seed).map((row) => ({ row })), bold));
      if (!bold) found.push(trace(method, means(own), true));
    });
    return found;
  };
  const parallel = (mine) => {
    const used = [...state.methods].sort((a, b) => a - b), last = Math.max(used.length - 1, 1);
    const dimensions = axes().map(([, name, of]) => ({ label: look.text(name.replace(" from the reference, nats", "").replace("weight of", "λ")), values: mine.map(of) }));
    const colours = used.flatMap((method, i) => {
      const colour = look.tone(data().methods[method].colour);
      return [[Math.max(0, (i - 0.5) / last), colour], [Math.min(1, (i + 0.5) / last), colour]];
    });
    const single = [[0, colours[0]?.[1] || "#000"], [1, colours[0]?.[1] || "#000"]];
    return [{
      type: "parcoords", dimensions, labelfont: { size: 13 }, tickfont: { size: 11 },
      line: { color: mine.map((row) => used.indexOf(row[METHOD])), cmin: 0, cmax: last, colorscale: used.length > 1 ? colours : single },
    }];
  };

  // --- drawing
  const layout = () => {
    const found = look.layout();
    const title = (i) => look.text(axis(i)[1]) + (axis(i)[0].startsWith("value") ? "  (higher is better →)" : "");
    if (state.view === "lines") return Object.assign(found, { margin: { l: 60, r: 80, t: 70, b: 30 } });
    if (state.view === "space") {
      const side = (i) => ({ title: { text: look.text(axis(i)[1]) }, gridcolor: look.colour("grid"), color: look.colour("ink"), backgroundcolor: look.colour("paper") });
      return Object.assign(found, { margin: { l: 0, r: 0, t: 0, b: 0 }, uirevision: "turned", scene: { xaxis: side(0), yaxis: side(1), zaxis: side(2), aspectmode: "cube" } });
    }
    Object.assign(found.xaxis, { title: { text: title(0) }, automargin: true });
    Object.assign(found.yaxis, { title: { text: title(1) }, automargin: true });
    return Object.assign(found, { margin: { l: 60, r: 20, t: 20, b: 55 }, hovermode: "closest" });
  };
  const fillTable = (mine) => {
    if (!details.open) return;
    const names = data().objectives, table = make("table"), head = make("tr"), body = make("tbody"), most = 500;
    ["method", "seed", "policy", ...names.map((name) => `weight of ${name}`), ...names, "KL", "regret"].forEach((name) => head.append(make("th", name, { scope: "col" })));
    for (const row of mine.slice(0, most)) {
      const line = make("tr");
      [data().methods[row[METHOD]].label, row[SEED], row[POLICY], ...names.map((_, i) => row[PREFERENCE] ? look.number(row[PREFERENCE][i]) : "none"), ...row[VALUES].map(look.number), look.number(row[KL]), look.number(row[REGRET])]
        .forEach((cell) => line.append(make("td", String(cell))));
      body.append(line);
    }
    const top = make("thead");
    top.append(head);
    table.append(top, body);
    rows.replaceChildren(table, ...(mine.length > most ? [make("p", `The first ${most} of ${mine.length}; points.csv has them all.`)] : []));
  };
  let kind = "";
  const draw = () => {
    const chosen = shown(), whole = ([, , of], row) => { const value = of(row); return value !== null && value !== undefined; };
    // A line through all axes has a value on each.
    const mine = state.view === "lines" ? chosen.filter((row) => axes().every((each) => whole(each, row))) : chosen;
    turn.hidden = state.view !== "space";
    const methods = new Set(mine.map((row) => row[METHOD])).size, used = new Set(mine.map((row) => row[SEED])).size;
    said.textContent = mine.length ? `Shown: ${counted(mine.length, "policy", "policies")} of ${counted(methods, "method", "methods")} and ${counted(used, "seed", "seeds")}, ${WORDS[state.space]}.${mine.length < chosen.length ? ` ${chosen.length - mine.length} more have no value on some of the axes.` : ""}`
      : state.space ? "Nothing is chosen." : "No values that both have.";
    const traces = state.view === "lines" ? (mine.length ? parallel(mine) : []) : [...exact(), ...points(mine)];
    // Another kind of plot is begun anew; the same kind is changed in place.
    if (kind !== state.view) Plotly.purge(plot);
    kind = state.view;
    Plotly.react(plot, traces, layout(), look.config);
    fillTable(mine);
  };
  for (const [name, text, dx, dz] of [["left", "←", -0.3, 0], ["right", "→", 0.3, 0], ["up", "↑", 0, 0.3], ["down", "↓", 0, -0.3]]) {
    const button = make("button", text, { type: "button" });
    button.setAttribute("aria-label", `Turn ${name}`);
    button.addEventListener("click", () => {
      const { eye } = plot._fullLayout.scene.camera;
      const length = Math.hypot(eye.x, eye.y), angle = Math.atan2(eye.y, eye.x) + dx;
      Plotly.relayout(plot, { "scene.camera.eye": { x: length * Math.cos(angle), y: length * Math.sin(angle), z: eye.z + dz } });
    });
    turn.append(button, " ");
  }
  details.addEventListener("toggle", () => fillTable(shown()));
  if (element.moaTheme) document.removeEventListener("moa-theme", element.moaTheme);
  element.moaTheme = again;
  document.addEventListener("moa-theme", again);
  begin();
  again();
};
document.addEventListener("DOMContentLoaded", () => {
  for (const element of document.querySelectorAll(".front[data-parts]")) {
    const names = JSON.parse(element.dataset.names);
    moa.front(element, element.dataset.parts.split(" ").map((key, i) => ({ name: names[i], data: moa.data[key] })));
  }
});
