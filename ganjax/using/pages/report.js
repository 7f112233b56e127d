// The report: every part of it is a function from the runs to nodes.
const data = JSON.parse(document.getElementById("data").textContent);
const runs = data.runs;
const several = runs.length > 1;
const colour = (index) => `var(--series-${index % 8})`;

/** What this tab remembers over a reload; nothing where a browser keeps nothing of files. */
const memory = {
  get(name) { try { return sessionStorage.getItem(`${location.pathname} ${name}`); } catch { return null; } },
  set(name, value) { try { sessionStorage.setItem(`${location.pathname} ${name}`, value); } catch { /* then not */ } },
};

function section(title, aside, ...children) {
  return node("section", {},
    node("div", { class: "section-head row spread" }, node("h2", {}, title), aside), ...children);
}

function runName(run) {
  const name = node("span", { class: "run-name" });
  if (several) {
    const swatch = node("span", { class: "swatch", "aria-hidden": "true" });
    swatch.style.color = colour(runs.indexOf(run));
    name.append(swatch);
  }
  name.append(run.name);
  return name;
}

// The head: which runs, as of when, and whether the page looks again by itself.
function head() {
  const seconds = 30;
  const refresh = node("input", { type: "checkbox" });
  let timer = null;
  const follow = () => {
    memory.set("refresh", refresh.checked ? "yes" : "no");
    clearInterval(timer);
    timer = refresh.checked ? setInterval(() => location.reload(), seconds * 1000) : null;
  };
  refresh.checked = memory.get("refresh") === "yes";
  refresh.addEventListener("change", follow);
  follow();
  const title = several ? `${runs.length} runs side by side` : runs[0].name;
  document.querySelector(".page-head").append(
    node("div", { class: "row spread" },
      node("div", {},
        node("h1", {}, title),
        node("p", { class: "quiet small" }, several ? `as of ${data.made}` : `${runs[0].path} · as of ${data.made}`)),
      node("label", { class: "check no-print", title: "Loads this file again; `ganjax report --watch` keeps it new" },
        refresh, `Reload every ${seconds} s`)));
}

function tile(label, value, below, share) {
  const made = node("div", { class: "card tile" },
    node("div", { class: "quiet small" }, label), node("div", { class: "value" }, value),
    node("div", { class: "quiet small" }, below || "\u00a0"));
  if (share !== undefined) {
    const filled = node("span");
    filled.style.width = `${Math.min(100, 100 * share)}%`;
    made.append(node("div", { class: "bar", role: "presentation" }, filled));
  }
  return made;
}

function verdictLine(run) {
  if (!run.verdict) return null;
  const tone = { improving: "good", stalled: "warn", overfitting: "warn", collapse: "bad" }[run.verdict.kind] || "";
  return node("p", { class: `line-of-note ${tone}` }, several ? `${run.name}: ${run.verdict.text}` : run.verdict.text.charAt(0).toUpperCase() + run.verdict.text.slice(1));
}

function overview() {
  const lines = runs.flatMap((run) => [
    verdictLine(run), ...run.problems.map((text) => node("p", { class: "line-of-note warn" }, several ? `${run.name}: ` : "", text)),
  ]);
  if (several) {
    return node("section", {}, ...lines, node("div", { class: "card scrolls", style: "margin-top: 16px" }, node("table", {},
      node("thead", {}, node("tr", {}, node("th", {}, "Run"),
        ...["Images seen", "Images a second", "MFU", "Best"].map((text) => node("th", { class: "number" }, text)))),
      node("tbody", {}, ...runs.map((run) => node("tr", {}, node("td", {}, runName(run)),
        node("td", { class: "number" }, whole(run.seen), run.total ? node("span", { class: "quiet" }, ` of ${whole(run.total)}`) : null),
        node("td", { class: "number" }, run.speed.value || "–"), node("td", { class: "number" }, run.mfu.value || "–"),
        node("td", { class: "number" }, run.best ? `${run.best.metric} ${figure(run.best.value)}` : "–")))))));
  }
  const [run] = runs;
  const share = run.total ? run.seen / run.total : undefined;
  return node("section", { style: "margin-top: 8px" }, ...lines, node("div", { class: "tiles" },
    tile("Images seen", whole(run.seen), run.total ? `of ${whole(run.total)}` : "", share),
    tile("Images a second", run.speed.value || "–", run.speed.note),
    tile("Model FLOPs utilisation", run.mfu.value || "–", run.mfu.note),
    run.best
      ? tile(`Best ${run.best.metric}`, figure(run.best.value), `at ${whole(run.best.images)} images, ${run.best.better} is better`)
      : tile("Evaluation", "–", "ganjax evaluate --workdir …")));
}

// Samples: one slider for all runs, over the images seen.
function samples() {
  const shown = runs.filter((run) => run.pictures.length);
  if (!shown.length) return section("Samples over time", null, node("p", { class: "quiet" }, "There are no pictures yet."));
  const times = [...new Set(shown.flatMap((run) => run.pictures.map((picture) => picture.images)))].sort((a, b) => a - b);
  const slider = node("input", { type: "range", min: 0, max: times.length - 1, step: 1, "aria-label": "Images seen" });
  const told = node("output", {});
  const figures = shown.map((run) => {
    const picture = node("img", {}), caption = node("span");
    const made = node("figure", {}, picture, node("figcaption", {}, several ? runName(run) : node("span", {}, ""), caption));
    return { run, picture, caption, made };
  });
  function show() {
    const now = times[Number(slider.value)];
    for (const { run, picture, caption } of figures) {
      const found = run.pictures.filter((one) => one.images <= now).pop() || run.pictures[0];
      picture.src = found.source;
      picture.width = found.width;
      picture.height = found.height;
      picture.alt = `Samples of ${run.name} at ${whole(found.images)} images`;
      caption.textContent = several ? `at ${whole(found.images)} images` : "";
    }
    told.textContent = `${whole(now)} images`;
    strip.forEach((thumbnail, index) => thumbnail.setAttribute("aria-pressed", index === Number(slider.value)));
    slider.setAttribute("aria-valuetext", `${whole(now)} images`);
    memory.set("time", slider.value === slider.max ? "" : slider.value);
  }
  // Of one run all pictures are beside it, to be seen at once, and printed.
  const strip = several ? [] : shown[0].pictures.map((picture, index) => node("button", {
    class: "thumbnail", title: `${whole(picture.images)} images`, tabindex: -1,
    click: () => { slider.value = index; show(); },
  }, node("img", { src: picture.source, alt: "", loading: "lazy" }), node("span", {}, count(picture.images))));
  slider.value = memory.get("time") || times.length - 1;
  slider.addEventListener("input", show);
  show();
  const left = shown.filter((run) => run.num_pictures > run.pictures.length);
  return section("Samples over time", null,
    node("div", { class: "timeline no-print" }, slider, told),
    several ? node("div", { class: "samples" }, ...figures.map((each) => each.made))
      : node("div", { class: "samples single" }, figures[0].made, node("div", { class: "strip" }, ...strip)),
    ...left.map((run) => node("p", { class: "quiet small" },
      `${several ? `${run.name}: ` : ""}${run.pictures.length} of ${run.num_pictures} pictures are in this page; all are in ${run.path}/samples`)));
}

// A chart: lines over images seen, an axis that may be logarithmic, and what is under the pointer.
function ticksOf(low, high, most) {
  const span = high - low || Math.abs(high) || 1;
  const size = 10 ** Math.floor(Math.log10(span / most));
  const step = [1, 2, 5, 10].map((factor) => size * factor).find((each) => span / each <= most);
  const found = [];
  for (let index = Math.ceil(low / step - 1e-9); index * step <= high + 1e-9 * span; index += 1) found.push(Number((index * step).toPrecision(12)));
  return found;
}

function chart(title, lines, last, logarithmic) {
  const [width, height, left, right, top, bottom] = [360, 190, 46, 8, 8, 22];
  const values = lines.flatMap((line) => line.y).filter((value) => value !== null && (!logarithmic || value > 0));
  const card = node("figure", { class: "card chart", style: "margin: 0" });
  const legend = node("div", { class: "legend" });
  const said = title.includes("/") ? title : title.charAt(0).toUpperCase() + title.slice(1);
  card.append(node("div", { class: "head" }, node("h3", {}, said), legend));
  const entries = lines.map((line) => {
    const swatch = node("span", { class: "swatch" }), told = node("span");
    swatch.style.color = line.colour;
    legend.append(node("span", {}, swatch, told));
    return { line, told };
  });
  const tell = (images) => entries.forEach(({ line, told }) => {
    let index = line.x.length - 1;
    if (images !== null) line.x.forEach((x, each) => { if (Math.abs(x - images) < Math.abs(line.x[index] - images)) index = each; });
    told.textContent = `${lines.length === 1 && !several ? "" : `${line.name} `}${figure(line.y[index])}`;
  });
  tell(null);
  if (!values.length) {
    card.append(node("p", { class: "quiet small" }, logarithmic ? "no value above 0" : "no finite value"));
    return card;
  }
  const scale = logarithmic ? Math.log10 : (value) => value;
  let [low, high] = values.reduce(([a, b], value) => [Math.min(a, value), Math.max(b, value)], [Infinity, -Infinity]);
  let ticks;
  if (logarithmic) {
    const [first, final] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))];
    const step = Math.max(1, Math.ceil((final - first) / 5));
    ticks = [];
    for (let power = first; power <= final; power += step) ticks.push(10 ** power);
    [low, high] = [10 ** first, 10 ** Math.max(final, first + 1)];
  } else {
    if (low === high) { const room = Math.abs(low) * 0.1 || 1; low -= room; high += room; }
    ticks = ticksOf(low, high, 5);
  }
  const across = (images) => left + (last ? images / last : 0) * (width - left - right);
  const up = (value) => height - bottom - ((scale(value) - scale(low)) / (scale(high) - scale(low))) * (height - top - bottom);
  const svg = node("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${title} over images seen, in the end ${entries.map(({ told }) => told.textContent).join(", ")}` });
  for (const tick of ticks) {
    svg.append(node("line", { x1: left, x2: width - right, y1: up(tick), y2: up(tick), stroke: "var(--line)" }),
      node("text", { x: left - 6, y: up(tick) + 4, "text-anchor": "end" }, figure(tick)));
  }
  for (const tick of ticksOf(0, last, 4)) {
    const end = across(tick) > width - 24;
    svg.append(node("text", { x: across(tick), y: height - 6, "text-anchor": end ? "end" : "middle" }, count(tick)));
  }
  for (const line of lines) {
    let path = "", drawing = false, points = 0;
    line.x.forEach((images, index) => {
      const value = line.y[index];
      if (value === null || (logarithmic && value <= 0)) { drawing = false; return; }
      path += `${drawing ? "L" : "M"}${across(images).toFixed(1)} ${up(value).toFixed(1)}`;
      drawing = true;
      points += 1;
    });
    svg.append(node("path", { d: path, fill: "none", stroke: line.colour, "stroke-width": 1.75, "stroke-linejoin": "round", "stroke-linecap": "round" }));
    if (points <= 20) {
      line.x.forEach((images, index) => {
        const value = line.y[index];
        if (value !== null && (!logarithmic || value > 0)) svg.append(node("circle", { cx: across(images), cy: up(value), r: 2.6, fill: line.colour }));
      });
    }
  }
  const cross = node("line", { y1: top, y2: height - bottom, stroke: "var(--quiet)", "stroke-dasharray": "3 3", visibility: "hidden" });
  const when = node("text", { y: top + 4, visibility: "hidden" });
  svg.append(cross, when);
  const xs = [...new Set(lines.flatMap((line) => line.x))].sort((a, b) => a - b);
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const images = (((event.clientX - box.left) / box.width) * width - left) / (width - left - right) * last;
    const nearest = xs.reduce((best, x) => (Math.abs(x - images) < Math.abs(best - images) ? x : best), xs[0]);
    const place = across(nearest), flipped = place > width - 90;
    for (const [name, value] of [["x1", place], ["x2", place], ["visibility", "visible"]]) cross.setAttribute(name, value);
    for (const [name, value] of [["x", place + (flipped ? -5 : 5)], ["text-anchor", flipped ? "end" : "start"], ["visibility", "visible"]]) when.setAttribute(name, value);
    when.textContent = `${count(nearest)} images`;
    tell(nearest);
  });
  svg.addEventListener("pointerleave", () => {
    for (const each of [cross, when]) each.setAttribute("visibility", "hidden");
    tell(null);
  });
  card.append(svg);
  return card;
}

function curves() {
  const names = new Set(runs.flatMap((run) => Object.keys(run.curves)));
  if (!names.size) return section("Curves", null, node("p", { class: "quiet" }, "Nothing is logged yet."));
  const last = Math.max(...runs.flatMap((run) => Object.values(run.curves).map(([x]) => x[x.length - 1])));
  // Of one run a chart has the curves that belong together; of several, one curve of each run.
  const panels = several ? data.panels.flatMap(([, inside]) => inside.map((name) => [name, [name]])) : data.panels;
  const line = (run, name, label, tone) => ({ name: label, colour: tone, x: run.curves[name][0], y: run.curves[name][1] });
  const all = panels.map(([title, inside]) => [title, several
    ? runs.map((run, index) => ({ run, index })).filter(({ run }) => run.curves[inside[0]]).map(({ run, index }) => line(run, inside[0], run.name, colour(index)))
    : inside.map((name, index) => line(runs[0], name, name, colour(index)))]);
  const logarithmic = node("input", { type: "checkbox" });
  const grid = node("div", { class: "charts" });
  const draw = () => {
    memory.set("logarithmic", logarithmic.checked ? "yes" : "no");
    grid.replaceChildren(...all.map(([title, lines]) => chart(title, lines, last, logarithmic.checked)));
  };
  logarithmic.checked = memory.get("logarithmic") === "yes";
  logarithmic.addEventListener("change", draw);
  draw();
  return section("Curves over images seen", node("label", { class: "check no-print" }, logarithmic, "Logarithmic"), grid);
}

// Metrics: each with what it was measured by.
function metrics() {
  const rows = runs.flatMap((run) => run.results.map((result) => ({ run, result })));
  if (!rows.length) return section("Metrics", null, node("p", { class: "quiet" }, "Nothing is evaluated yet: ganjax evaluate --workdir … --metrics fid"));
  const body = rows.map(({ run, result }) => node("tr", {},
    several ? node("td", {}, runName(run)) : null,
    node("td", { class: result.is_best ? "best" : "" }, result.metric),
    node("td", { class: "number" }, whole(result.images)),
    node("td", { class: `number ${result.is_best ? "best" : ""}` }, figure(result.value),
      result.deviation === null ? null : node("span", { class: "quiet" }, ` ± ${figure(result.deviation)}`)),
    node("td", {}, node("details", {}, node("summary", {}, result.protocol),
      node("table", { class: "stamp" }, node("tbody", {}, ...result.stamp.map(([name, value]) =>
        node("tr", {}, node("td", { class: "quiet" }, name), node("td", { class: "code" }, value)))))))));
  return section("Metrics", node("span", { class: "quiet small" }, "in bold, the best of its kind"),
    node("div", { class: "card scrolls" }, node("table", {},
      node("thead", {}, node("tr", {}, several ? node("th", {}, "Run") : null, node("th", {}, "Metric"),
        node("th", { class: "number" }, "Images seen"), node("th", { class: "number" }, "Value"), node("th", {}, "Measured by"))),
      node("tbody", {}, ...body))));
}

function events() {
  const rows = runs.flatMap((run) => run.notes.map((note) => ({ run, note }))).sort((a, b) => a.note.images - b.note.images);
  if (!rows.length) return section("Warnings and rollbacks", null, node("p", { class: "quiet" }, "None so far."));
  return section("Warnings and rollbacks", null, node("div", { class: "card scrolls" }, node("table", {},
    node("thead", {}, node("tr", {}, several ? node("th", {}, "Run") : null, node("th", { class: "number" }, "Images seen"), node("th", {}, "What"), node("th", {}, ""))),
    node("tbody", {}, ...rows.map(({ run, note }) => node("tr", {}, several ? node("td", {}, runName(run)) : null,
      node("td", { class: "number" }, whole(note.images)), node("td", {}, node("span", { class: "kind" }, note.name)), node("td", {}, note.text)))))));
}

function settingsTable(names, of) {
  return node("div", { class: "scrolls" }, node("table", { class: "settings" },
    several ? node("thead", {}, node("tr", {}, node("th", {}, ""), ...runs.map((run) => node("th", {}, runName(run))))) : null,
    node("tbody", {}, ...names.map((name) => node("tr", {}, node("td", { class: "code" }, name),
      ...runs.map((run) => node("td", { class: "code" }, of(run)[name] ?? "–")))))));
}

function settings() {
  const names = [...new Set(runs.flatMap((run) => Object.keys(run.config)))];
  const differing = names.filter((name) => new Set(runs.map((run) => run.config[name])).size > 1);
  const made = [...new Set(runs.flatMap((run) => Object.keys(run.facts)))];
  return section("Config and versions", null, node("div", { class: "card" },
    made.length ? settingsTable(made, (run) => run.facts) : null,
    several ? node("details", { style: "margin-top: 12px", open: differing.length <= 12 },
      node("summary", {}, differing.length ? `What differs: ${differing.length} values` : "The configs are alike"),
      differing.length ? settingsTable(differing, (run) => run.config) : null) : null,
    names.length ? node("details", { style: "margin-top: 12px" }, node("summary", {}, `All ${names.length} values of the config`), settingsTable(names, (run) => run.config)) : null));
}

head();
document.querySelector("main").append(overview(), samples(), curves(), metrics(), events(), settings());
document.querySelector(".page-foot").append(`Made by ganjax ${data.version}. This file needs no other, and no network.`);
